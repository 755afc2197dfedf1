import { describe, expect, it } from 'vitest';

import { splitBlocks } from '../../core/markdown';
import { GrowingBlocks } from './growing-blocks';

const TEXT = [
  '# Title',
  'A paragraph\nof two lines.',
  '- one\n- two\n\n  still two',
  '```python\nprint(1)\n\nprint(2)\n```',
  '> quoted\n> text',
  '| a | b |\n|---|---|\n| 1 | 2 |',
  'The end.',
].join('\n\n');

describe('GrowingBlocks', () => {
  it('gives the same blocks as cutting the whole text, when the text comes a character at a time', () => {
    const growing = new GrowingBlocks();
    for (let length = 1; length <= TEXT.length; length++) {
      const text = TEXT.slice(0, length);
      expect(growing.of(text)).toEqual(splitBlocks(text));
    }
  });

  it('copes with line ends that are normalised when they are cut', () => {
    const growing = new GrowingBlocks();
    const text = TEXT.replaceAll('\n', '\r\n');
    for (let length = 1; length <= text.length; length++) growing.of(text.slice(0, length));
    expect(growing.of(text)).toEqual(splitBlocks(text));
  });

  it('begins anew when it is given another text', () => {
    const growing = new GrowingBlocks();
    growing.of(TEXT);
    expect(growing.of('Other.\n\nWords.')).toEqual(splitBlocks('Other.\n\nWords.'));
    expect(growing.of('')).toEqual([]);
  });
});
