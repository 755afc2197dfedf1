import { expect, it } from 'vitest';

import { fitted, isPicturePart, pictureOf, picturePart } from './pictures';
import { isKnownToSee, listSaysSees } from './vision';

it('makes the longer side of a picture 2048 pixels, and leaves a small one as it is', () => {
  expect(fitted(4096, 1024)).toEqual([2048, 512]);
  expect(fitted(1000, 5000)).toEqual([410, 2048]);
  expect(fitted(800, 600)).toEqual([800, 600]);
  expect(fitted(100_000, 1)).toEqual([2048, 1]);
});

it('keeps a picture with its name, and shows none that would have to be fetched', () => {
  const picture = { url: 'data:image/png;base64,AAAA', name: 'A cat' };
  expect(pictureOf(picturePart(picture))).toEqual(picture);
  expect(isPicturePart(picturePart(picture))).toBe(true);
  for (const url of ['https://x/y.png', 'data:image/svg+xml;base64,AAAA', 'data:text/html,x']) {
    expect(isPicturePart(picturePart({ url, name: '' }))).toBe(false);
  }
});

it('knows by name which models look at pictures', () => {
  const seeing = [
    'gpt-4o-mini',
    'gpt-5.1',
    'o3',
    'claude-sonnet-4-5',
    'models/gemini-2.5-flash',
    'pixtral-12b',
  ];
  const blind = [
    'local',
    'gpt-3.5-turbo',
    'gpt-4o-audio-preview',
    'o1-mini',
    'text-embedding-3-small',
    'mistral-7b',
  ];
  expect(seeing.filter(isKnownToSee)).toEqual(seeing);
  expect(blind.filter(isKnownToSee)).toEqual([]);
});

it('believes what a list of models says', () => {
  const list = {
    data: [
      { id: 'a', architecture: { input_modalities: ['text', 'image'] } },
      { id: 'b', architecture: { input_modalities: ['text'] } },
      { id: 'c', capabilities: { vision: true } },
      { id: 'd' },
    ],
  };
  expect(['a', 'b', 'c', 'd', 'e'].map((id) => listSaysSees(list, id))).toEqual([
    true,
    false,
    true,
    undefined,
    undefined,
  ]);
});
