/** How a verdict looks. No symbol and no colour stands without its word. */
import type { ProbeCell } from '../../core/api/console';

export type Verdict = ProbeCell['verdict'];
export type Tone = 'good' | 'bad' | 'warn' | 'quiet';

export const SYMBOLS: Readonly<Record<Verdict, string>> = {
  accepted: '✓',
  refused: '✗',
  unclear: '?',
  unreachable: '!',
  skipped: '○',
  'not applicable': '–',
};

/** A control is good when it is refused. */
export function toneOf(verdict: Verdict, control: boolean): Tone {
  switch (verdict) {
    case 'accepted':
      return control ? 'bad' : 'good';
    case 'refused':
      return control ? 'good' : 'bad';
    case 'unclear':
    case 'unreachable':
      return 'warn';
    case 'skipped':
    case 'not applicable':
      return 'quiet';
  }
}
