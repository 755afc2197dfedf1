/** Runs `trunkline` commands for the browser tests, each on a free port. */
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const PYTHON = fileURLToPath(new URL('../../../.venv/bin/python', import.meta.url));

export interface Program {
  url: string;
  output(): string;
  stop(): Promise<void>;
}

/** Starts `trunkline ARGUMENTS` and resolves when it says where it listens. */
export function start(args: string[], environment: Record<string, string> = {}): Promise<Program> {
  const child = spawn(PYTHON, ['-m', 'trunkline', ...args], {
    env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: '1', ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  return new Promise((resolve, reject) => {
    child.stderr.on('data', (data: Buffer) => {
      output += data.toString();
      const url = /ready: (https?:\/\/[\d.]+:\d+)/.exec(output)?.[1];
      if (url) resolve({ url, output: () => output, stop: () => stop(child) });
    });
    child.on('exit', () => reject(new Error(`trunkline ${args.join(' ')} ended:\n${output}`)));
  });
}

function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGTERM');
  });
}
