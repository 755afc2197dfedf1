/** Problems and close codes in words. */
import type { VoiceProblem } from '../../core/realtime/controller';
import type { VoiceWords } from '../../i18n/voice.en';
import { fill } from '../../i18n/index.svelte';

type Words = VoiceWords;

/** What helps: asking for the microphone again, dialling again, or something in the settings. */
export type Remedy = 'retry-microphone' | 'reconnect';

export interface Explanation {
  readonly title: string;
  readonly remedy: string;
  /** What the other side said, word for word. */
  readonly said: readonly string[];
  readonly code: string | null;
  readonly help: Remedy | null;
  /** Whether the settings may hold the cause. */
  readonly settings: boolean;
}

interface Circumstances {
  /** The call goes on in spite of it. */
  readonly live: boolean;
  readonly direct: boolean;
}

export function explain(problem: VoiceProblem, { live, direct }: Circumstances, t: Words): Explanation {
  const help = live ? null : 'reconnect';
  switch (problem.kind) {
    case 'insecure-context':
    case 'unsupported':
    case 'no-output':
      return { ...t.problems[problem.kind], said: [], code: null, help, settings: false };
    case 'denied':
    case 'no-device':
    case 'busy':
      return { ...t.problems[problem.kind], said: [], code: null, help: 'retry-microphone', settings: false };
    case 'refused':
      return {
        ...(live ? t.problems.refusedRequest : t.problems.refused),
        said: [...(problem.message ? [problem.message] : []), ...closeWords(problem, t)],
        code: problem.code || null,
        help,
        settings: concernsKey(problem),
      };
    case 'unreachable':
      return {
        ...(direct ? t.problems.unreachableDirect : t.problems.unreachable),
        said: [...(problem.message ? [problem.message] : []), ...closeWords(problem, t)],
        code: null,
        help,
        settings: false,
      };
    case 'lost':
    case 'closed':
      return {
        ...t.problems[problem.kind],
        said: [
          ...closeWords(problem, t),
          ...(problem.message ? [fill(t.closes.said, { reason: problem.message })] : []),
        ],
        code: null,
        help,
        settings: concernsKey(problem),
      };
  }
}

function closeWords({ closeCode }: VoiceProblem, t: Words): string[] {
  if (closeCode === undefined) return [];
  return [`${closeMeaning(closeCode, t)} ${fill(t.closes.code, { code: closeCode })}`];
}

/** RFC 6455 section 7.4.1 and its registry; from 3000 on as OpenAI uses them. */
function closeMeaning(code: number, t: Words): string {
  switch (code) {
    case 1000:
    case 1001:
      return t.closes.normal;
    case 1006:
      return t.closes.abnormal;
    case 1008:
      return t.closes.policy;
    case 1009:
      return t.closes.tooBig;
    case 1011:
      return t.closes.internal;
    case 1012:
      return t.closes.restart;
    case 1013:
      return t.closes.tryLater;
    case 3000:
      return t.closes.keyRefused;
    case 4000:
      return t.closes.badRequest;
    case 4004:
      return t.closes.unknownModel;
    default:
      return code >= 3000 ? t.closes.application : t.closes.other;
  }
}

function concernsKey({ code, closeCode }: VoiceProblem): boolean {
  return closeCode === 3000 || closeCode === 1008 || /key|token|auth|credential/i.test(code ?? '');
}
