/**
 * Before all browser tests: the gateways that they share, and what the fake microphone says, spoken by the local voice of
 * one of them, which loads its models by that.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { MICROPHONE, QUESTION, REQUEST } from './said';
import { servers, startServers } from './servers';
import { joined, silence, wav } from './wav';

export default async function prepare(): Promise<() => Promise<void>> {
  mkdirSync(MICROPHONE, { recursive: true });
  const stop = await startServers();
  const { url } = servers().gateway;
  const question = await spoken(url, QUESTION);
  const request = await spoken(url, REQUEST);
  // Time to connect, the words, and the quiet in which they are answered.
  write('question.wav', joined(silence(5), question, silence(25)));
  // Said again while the long answer is still being spoken, which it is sooner or later, as the machine has time.
  const again = [5, 8, 12].flatMap((seconds) => [silence(seconds), request]);
  write('interruption.wav', joined(silence(5), request, ...again, silence(25)));
  write('silence.wav', silence(10));
  return stop;
}

async function spoken(url: string, input: string): Promise<Int16Array> {
  const answer = await fetch(`${url}/v1/local/default/local/audio/speech`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'local', voice: 'alloy', input, response_format: 'pcm' }),
  });
  if (!answer.ok) throw new Error(`no speech: ${answer.status} ${await answer.text()}`);
  return new Int16Array(await answer.arrayBuffer());
}

function write(name: string, samples: Int16Array): void {
  writeFileSync(join(MICROPHONE, name), wav(samples));
}
