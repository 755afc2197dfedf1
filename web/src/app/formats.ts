/** Values as the reader's language writes them. */
import { words } from '../i18n/index.svelte';

/** US dollars; what something costs is often less than a cent. */
export function dollars(cost: number): string {
  return words.number(cost, { style: 'currency', currency: 'USD', maximumFractionDigits: 4 });
}

/** A Unix time as the reader's clock and calendar show it. */
export function moment(seconds: number): string {
  return words.moment(seconds * 1000, { dateStyle: 'medium', timeStyle: 'short' });
}
