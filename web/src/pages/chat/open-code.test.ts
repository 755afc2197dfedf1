// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';

import { OpenCode } from './open-code';

const CODE = Array.from({ length: 250 }, (_, at) => `  line ${at}\n`).join('');

/** Feed a source as it grows by `step` characters; return where it ended, and what is shown then. */
function grown(source: string, step: number): [number | null, string] {
  const first = source.indexOf('\n') + 1;
  const code = OpenCode.begin(source.slice(0, first));
  if (!code) throw new Error('no code');
  for (let length = first; length < source.length + step; length += step) {
    const end = code.show(source.slice(0, length), false);
    if (end !== null) return [end, code.code.textContent];
  }
  return [code.show(source, true), code.code.textContent];
}

describe('a code block that is being written', () => {
  it.each([1, 7, 1000])('shows all lines, whatever pieces of %i characters cut', (step) => {
    const block = `\`\`\`python\n${CODE}\`\`\`\n`;
    expect(grown(`${block}After it.`, step)).toEqual([block.length, CODE]);
  });

  it('ends with the text where nobody closed it, or closed it with the last line', () => {
    expect(grown('~~~\nlet a;', 1)).toEqual([10, 'let a;']);
    expect(grown('```\nlet a;\n```', 1)).toEqual([14, 'let a;\n']);
  });

  it('ends only with a fence as long as its own, and loses no more indent than that had', () => {
    const block = '  ````js\n    a\n  b\n```\n ````\n';
    expect(grown(block, 1)).toEqual([block.length, '  a\nb\n```\n']);
  });

  it('never shows what may become the closing fence', () => {
    const code = OpenCode.begin('```\n');
    expect(code?.show('```\na\n``', false)).toBeNull();
    expect(code?.code.textContent).toBe('a\n');
    expect(code?.show('```\na\n``x', false)).toBeNull();
    expect(code?.code.textContent).toBe('a\n``x');
  });

  it('knows its language, and what is no code', () => {
    expect(OpenCode.begin('```python title\n')?.code.className).toBe('language-python');
    expect(OpenCode.begin('```inline``` code\n')).toBeNull();
    expect(OpenCode.begin('```py')).toBeNull();
    expect(OpenCode.begin('    indented\n')).toBeNull();
  });
});
