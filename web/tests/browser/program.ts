/** Runs `trunkline` commands for the browser tests, each on a free port and with data of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PYTHON = fileURLToPath(new URL('../../../.venv/bin/python', import.meta.url));

export interface Program {
  url: string;
  output(): string;
  stop(): Promise<void>;
  /** End it as a crash would. */
  kill(): Promise<void>;
}

/** Starts `trunkline ARGUMENTS` and resolves when it says where it listens. */
export function start(args: string[], environment: Record<string, string> = {}): Promise<Program> {
  const data = dataDirectory();
  const child = spawn(PYTHON, ['-m', 'trunkline', ...args], {
    env: { ...others(), NO_COLOR: '1', TRUNKLINE_DATA_DIR: data, ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  child.once('exit', () => rmSync(data, { recursive: true, force: true }));
  let output = '';
  return new Promise((resolve, reject) => {
    child.stderr.on('data', (piece: Buffer) => {
      output += piece.toString();
      const url = /ready: (https?:\/\/[\d.]+:\d+)/.exec(output)?.[1];
      if (url)
        resolve({ url, output: () => output, stop: () => stop(child), kill: () => stop(child, 'SIGKILL') });
    });
    child.on('exit', () => reject(new Error(`trunkline ${args.join(' ')} ended:\n${output}`)));
  });
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

function stop(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill(signal);
  });
}
