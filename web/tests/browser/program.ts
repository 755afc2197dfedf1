/** Runs `trunkline` commands for the browser tests, each on a free port and with data of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const PYTHON = fileURLToPath(new URL('../../../.venv/bin/python', import.meta.url));
const POLL_MS = 50;

/** Where a running program is, whichever process started it. */
export interface Listening {
  readonly url: string;
  /** The file with what it has said. */
  readonly log: string;
}

export interface Program extends Listening {
  output(): string;
  stop(): Promise<void>;
  /** End it as a crash would. */
  kill(): Promise<void>;
}

/** Starts `trunkline ARGUMENTS` and resolves when it says where it listens. */
export async function start(args: string[], environment: Record<string, string> = {}): Promise<Program> {
  const data = dataDirectory();
  const log = join(data, 'said');
  const file = openSync(log, 'a');
  const child = spawn(PYTHON, ['-m', 'trunkline', ...args], {
    env: { ...others(), NO_COLOR: '1', TRUNKLINE_DATA_DIR: data, ...environment },
    stdio: ['ignore', 'ignore', file],
  });
  closeSync(file);
  process.once('exit', () => child.kill()); // also when whoever started it failed
  const output = () => readFileSync(log, 'utf8');
  for (;;) {
    const url = /ready: (https?:\/\/[\d.]+:\d+)/.exec(output())?.[1];
    if (url) {
      return { url, log, output, stop: () => stop(child, data), kill: () => stop(child, data, 'SIGKILL') };
    }
    if (child.exitCode !== null) throw new Error(`trunkline ${args.join(' ')} ended:\n${output()}`);
    await pause(POLL_MS);
  }
}

/** A new data directory that has the installed models and nothing else of the user's. Name it as `TRUNKLINE_DATA_DIR` to
 * have one that outlives a program; whoever makes it removes it. */
export function dataDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'trunkline-browser-test-'));
  const ofUser = process.env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share');
  symlinkSync(join(ofUser, 'trunkline', 'models'), join(directory, 'models'));
  return directory;
}

/** This process's environment without the user's settings of Trunkline. */
function others(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(TRUNKLINE_|FORCE_COLOR$)/.test(name));
  return Object.fromEntries(kept);
}

async function stop(child: ChildProcess, data: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }
  rmSync(data, { recursive: true, force: true });
}
