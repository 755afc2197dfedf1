/**
 * The gateways that all browser tests share. They are started once, before the tests: to start them for each browser,
 * of which there is one for every way to have a microphone, took longer than the tests.
 */
import { readFileSync } from 'node:fs';

import { start, type Listening } from './program';

/** The key that the strict upstream in OpenAI's place wants. */
export const KEY = 'sk-browser-test-0123456789abcdef';

/** What callers of the guarded gateway show. */
export const TOKEN = 'browser-test-token-0123456789abcdef';

const VARIABLE = 'BROWSER_TEST_SERVERS';

export interface Server {
  readonly url: string;
  output(): string;
}

interface Servers<Kind> {
  /** In OpenAI's place: it wants `KEY`, and refuses what has none, a wrong one or two. */
  readonly upstream: Kind;
  /** It trusts whoever can reach it. */
  readonly gateway: Kind;
  /** It wants `TOKEN`. */
  readonly guarded: Kind;
}

/** Starts them and tells the tests' processes where they are; call what is returned to stop them. */
export async function startServers(): Promise<() => Promise<void>> {
  const upstream = await start(['local', '--port', '0'], { TRUNKLINE_LOCAL_KEY: KEY });
  const serve = (environment: Record<string, string>) =>
    start(['serve', '--port', '0'], {
      TRUNKLINE_PROVIDERS__OPENAI__BASE_URL: `${upstream.url}/v1`,
      ...environment,
    });
  const [gateway, guarded] = await Promise.all([
    serve({ TRUNKLINE_PROBE_ALLOWED_HOSTS: '127.0.0.1' }),
    serve({ TRUNKLINE_GATEWAY_TOKEN: TOKEN }),
  ]);
  const servers: Servers<Listening> = { upstream, gateway, guarded };
  process.env[VARIABLE] = JSON.stringify(servers);
  return async () => void (await Promise.all([upstream, gateway, guarded].map((program) => program.stop())));
}

/** The servers that run. */
export function servers(): Servers<Server> {
  const { upstream, gateway, guarded } = JSON.parse(process.env[VARIABLE] ?? '') as Servers<Listening>;
  return { upstream: server(upstream), gateway: server(gateway), guarded: server(guarded) };
}

function server({ url, log }: Listening): Server {
  return { url, output: () => readFileSync(log, 'utf8') };
}
