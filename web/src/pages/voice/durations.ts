/** Spans of time as text. */
import { words } from '../../i18n/index.svelte';

/** As in "2.4s". */
export function seconds(milliseconds: number): string {
  return words.number(milliseconds / 1000, {
    style: 'unit',
    unit: 'second',
    unitDisplay: 'narrow',
    minimumFractionDigits: 1,
    maximumFractionDigits: 1,
  });
}

/** As on a telephone's display: "02:14". */
export function clock(milliseconds: number): string {
  const whole = Math.max(0, Math.floor(milliseconds / 1000));
  return [Math.floor(whole / 60), whole % 60].map((part) => String(part).padStart(2, '0')).join(':');
}
