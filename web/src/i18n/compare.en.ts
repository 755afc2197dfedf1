/** English words of the comparison between the gateway and the provider. */
import type { Widen } from './catalogue';

export type CompareWords = Widen<typeof compare>;

export const compare = {
  intro:
    'One clip is said to {provider} several times each way, by turns, and this browser takes the time. Each answer is left as soon as its first sound is there.',
  clip: 'Clip',
  bundled: 'A short question: “What is the capital of France?”',
  own: 'Your own voice',
  file: 'A sound file',
  choose: 'Choose a sound file',
  length: '{seconds} long',
  record: 'Record',
  stop: 'Stop recording',
  recording: 'Recording: {seconds}, at most {longest}',
  notSound: 'This browser can make no sound of that file.',
  nothingHeard: 'Nothing was recorded.',
  runs: 'Runs each way',
  start: 'Compare',
  cancel: 'Cancel',
  busy: 'End the call first: both would be measured together.',
  ways: { gateway: 'Through the gateway', direct: 'Direct' },
  steps: { connecting: 'connecting', speaking: 'speaking', waiting: 'waiting for the answer' },
  progress: 'Run {run} of {runs}, {way}: {step}',
  progressLabel: 'Progress of the comparison',
  done: 'The comparison is done.',
  cancelled: 'Cancelled. What was measured is kept.',
  failed: '{way}: not completed.',
  results: 'Medians in milliseconds',
  measure: 'Measure',
  /** Heads of narrow columns. */
  heads: { gateway: 'Gateway', direct: 'Direct', difference: 'Gateway adds' },
  each: 'Each run',
  measures: {
    connect: 'Connect',
    roundTrip: 'Round trip',
    firstByte: 'End of speech → first byte',
    playable: 'End of speech → enough to play',
  },
  range: '{least}–{most}',
  n: 'n = {gateway} through the gateway, {direct} direct. Below each median: the least and the most.',
  caveat:
    'Both ways share your network, and the provider’s own time differs from answer to answer by more than a gateway adds. A few runs show the size of a difference, not its last milliseconds. Connect includes the asking for a short-lived secret, either way.',
  copy: 'Copy as Markdown',
  runsTable: 'Each run, in milliseconds',
  way: 'Way',
};
