/** English words of the auth matrix. */
import type { Widen } from './catalogue';

export type ProbeWords = Widen<typeof probe>;

export const probe = {
  intro:
    'Shows one credential in every place and on every transport, and says whether it had the same result everywhere.',
  form: {
    target: 'Target',
    thisGateway: 'This gateway',
    anAddress: 'An address',
    address: 'Address',
    addressHint:
      'A gateway (https://HOST/v1/ACCOUNT/GATEWAY) or the base URL of an API (https://api.openai.com/v1). Private and local addresses are refused; keys that the gateway keeps are not sent there.',
    keys: 'Keys',
    ofSession: 'Kept by the gateway',
    sessionHolds: 'Typed in this browser’s settings: provider key {provider}, gateway token {gateway}.',
    noneSet: 'none',
    typed: 'Typed here',
    typedHint:
      'They stay in the memory of this page until you leave it, and go through the gateway to the target alone.',
    providerKey: 'Provider key',
    gatewayKey: 'Gateway key or token',
    noKey:
      'There is no key for {provider} here. What shows one is skipped; the controls and what needs no key are asked.',
    models: 'Models',
    model: 'Model',
    realtimeModel: 'Realtime model',
    modelsHint: 'Named in the requests. Empty: a usual one. One that is not there changes no verdict.',
    billable: 'Allow a billable request',
    billableHint:
      'The SSE column then asks for an answer of one token. Without it the request holds no message: an API refuses that after it has looked at the key, and nothing is paid.',
    run: 'Run',
    cancel: 'Cancel',
    starting: 'Starting…',
    progress: '{done}/{total}',
    asked: 'Cells asked',
  },
  before: {
    title: 'What a run does',
    asks: 'It asks for the list of models, for a stream and for a voice session, once for each way in which clients show a key.',
    controls: 'It shows a wrong key as well. Only where that is refused does an acceptance mean anything.',
    never: 'What it never does',
    prompt: 'It sends no prompt, unless you allow it; a voice session is closed as soon as it exists.',
    keys: 'It sends keys to nobody but the target, follows no redirect, and writes no key into a result.',
    blame: 'It says what was seen, and not whose fault a difference is.',
  },
  table: {
    server: 'From the gateway’s machine',
    of: '{provider} at {target}',
    shown: 'Shown',
    rows: 'Credentials',
    controls: 'Controls: each of these must be refused',
    waiting: 'not asked yet',
    differs: 'differs',
    legend: 'Choose a cell for what was sent and what came back. The arrow keys move between cells.',
  },
  verdicts: {
    accepted: 'accepted',
    refused: 'refused',
    unclear: 'unclear',
    unreachable: 'unreachable',
    skipped: 'skipped',
    'not applicable': 'not applicable',
  },
  controlRefused: 'as it must be',
  controlAccepted: 'must be refused',
  detail: {
    title: '{verdict}, over {column}',
    shown: 'Shown',
    why: 'Why',
    time: 'Time',
    status: 'HTTP status',
    closeCode: 'Close code',
    request: 'What was sent',
    copies: 'A copy holds no key. It reads these from the environment in which it runs:',
    firstFrame: 'First of what came back',
    noFrame: 'nothing',
  },
  outcome: {
    same: 'Same credential, same result everywhere',
    sameText: 'Every credential came to the same in each place and on each transport.',
    differs: 'Same credential, another result',
    differsText:
      'Cells that did worse than their credential did elsewhere: {count}. They are marked in the table.',
    nothing: 'Nothing to compare',
    nothingText: 'No credential was observed in two cells. With a key there is more to see.',
    faults: 'The greens mean nothing',
    faultsText: 'A wrong key has to be refused wherever a key is accepted. It was not:',
    leftOut: 'Left out',
    save: 'Save the report',
    saved: 'None of these files holds a key.',
  },
  states: {
    cancelled: 'Cancelled after {done} of {total} cells',
    broken: 'The connection broke after {done} of {total} cells',
    partText: 'What was asked by then stays here. Run it again for the rest.',
    failed: 'The run could not go on',
    refused: 'The gateway refused this run',
    unreachable: 'The gateway does not answer',
    invalid: 'This cannot be probed',
    done: 'The run is finished.',
    running: 'The run has begun.',
  },
  browser: {
    title: 'From this browser',
    text: 'Asked by this page itself: with a client secret of the gateway that is good for a minute, in place of a key.',
    elsewhere:
      "Pages of the console may connect to this gateway only (connect-src 'self'), so another address is probed from the gateway’s machine alone.",
    noSecret:
      '{provider} has no realtime voice, and the gateway makes client secrets only where there is one.',
    refused: 'The gateway gave this page no client secret. It said:',
    rows: {
      'client-secret': 'pages and apps that were given a client secret',
      'unknown-secret': 'a client secret that nobody was given',
    },
    reasons: {
      answered: 'It answered with what was asked for.',
      session: 'The voice session was created.',
      'request-read': 'What is in the request was refused, which nobody looks at before the key.',
      refused: 'The secret was refused.',
      'nothing-said': 'The answer says nothing about the secret.',
      'no-answer': 'No answer came.',
    },
  },
};
