/** Whether a model looks at pictures: what its provider's list says of it, else what its name is known for. */

import { asList, asObject, asString, parseJson } from './narrow';

const SEES = new RegExp(
  [
    ...[
      'gpt-4o',
      'gpt-4\\.[1-9]',
      'gpt-4-turbo',
      'gpt-[5-9]',
      'chatgpt-4o',
      'o[134](-pro)?$',
      'o[34]-(mini|pro)',
    ],
    ...['claude-[3-9]', 'claude-(opus|sonnet|haiku)-\\d', 'gemini-', 'gemma-?3', 'grok-(4|2-vision)'],
    ...[
      'pixtral',
      'mistral-(medium-3|small-3\\.[12])',
      'llama-?3\\.2-(11|90)b',
      'llama-?4',
      'nova-(lite|pro|premier)',
    ],
    ...['vision', '-vl\\b', 'llava', 'minicpm-v', 'moondream', 'internvl'],
  ].join('|'),
  'i',
);
/** Of those families, the ones that only hear, speak, draw or embed. */
const BLIND = /audio|realtime|transcribe|tts|embed|image-\d|dall-e|imagen|whisper|o1-mini|gemma-?3-?1b|oss/i;

/** Whether a model of this name is known to look at pictures. `false` says only that nobody knows. */
export function isKnownToSee(model: string): boolean {
  return SEES.test(model) && !BLIND.test(model);
}

/** What a list of models (OpenRouter's, Mistral's, and those like them) says of one; undefined where it says nothing. */
export function listSaysSees(list: unknown, model: string): boolean | undefined {
  const entries =
    asList(list) ?? asList(asObject(list)?.['data']) ?? asList(asObject(list)?.['models']) ?? [];
  const entry = entries.map(asObject).find((one) => asString(one?.['id'] ?? one?.['name']) === model);
  const vision = asObject(entry?.['capabilities'])?.['vision'];
  if (typeof vision === 'boolean') return vision;
  const takes =
    asList(asObject(entry?.['architecture'])?.['input_modalities']) ?? asList(entry?.['input_modalities']);
  return takes?.includes('image');
}

/** Ask the list at `url` about a model. Never rejects: a list that does not come says nothing. */
export async function askWhetherSees(url: string, model: string): Promise<boolean | undefined> {
  try {
    const answer = await fetch(url, { headers: { accept: 'application/json' } });
    return answer.ok ? listSaysSees(parseJson(await answer.text()), model) : undefined;
  } catch {
    return undefined;
  }
}
