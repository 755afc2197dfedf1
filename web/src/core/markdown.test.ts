// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';

import { markdownHtml, splitBlocks } from './markdown';

function rendered(text: string): HTMLElement {
  const host = document.createElement('div');
  host.innerHTML = markdownHtml(text);
  return host;
}

// DOMPurify does not work in happy-dom; the browser tests see what it adds. This is the line before it.
describe('markdownHtml', () => {
  it('renders structure', () => {
    const host = rendered('# Title\n\n- one\n- **two**\n\n```python\nprint(1)\n```');
    expect(host.querySelector('h1')?.textContent).toBe('Title');
    expect(host.querySelectorAll('li')).toHaveLength(2);
    expect(host.querySelector('strong')?.textContent).toBe('two');
    expect(host.querySelector('code')?.className).toBe('language-python');
    expect(host.querySelector('code')?.textContent).toContain('print(1)');
  });

  const attacks = [
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
    'text <b onclick="alert(1)">bold</b> text',
    '<svg><a xlink:href="javascript:alert(1)">x</a></svg>',
    '<form action="https://example.test"><input name="key"></form>',
    '<style>body{display:none}</style>',
  ];

  for (const attack of attacks) {
    it(`shows ${attack} as the text it is`, () => {
      const host = rendered(attack);
      expect(host.textContent).toContain(attack.slice(0, 8));
      expect(
        host.querySelector('script, img, iframe, svg, form, style, input, b, [onclick], [onerror]'),
      ).toBeNull();
    });
  }

  it('never loads an image but links to it', () => {
    const host = rendered('![a cat](https://example.test/cat.png?leak=secret)');
    expect(host.querySelector('img')).toBeNull();
    expect(host.querySelector('a')?.getAttribute('href')).toBe('https://example.test/cat.png?leak=secret');
    expect(host.querySelector('a')?.textContent).toBe('a cat');
  });

  it('guards the links it follows', () => {
    const link = rendered('[docs](https://example.test/a?b=1&c="2")').querySelector('a');
    expect(link?.getAttribute('rel')).toBe('noopener noreferrer nofollow');
    expect(link?.getAttribute('target')).toBe('_blank');
    expect(link?.getAttribute('title')).toBe(link?.getAttribute('href'));
  });

  it.each([
    '[x](javascript:alert(1))',
    '[x](JAVASCRIPT:alert(1))',
    '[x](data:text/html,<script>)',
    '[x](vbscript:x)',
    '[x](//example.test)',
    '[x](/api/session)',
  ])('leaves only the words of %s', (text) => {
    const host = rendered(text);
    expect(host.querySelector('a')).toBeNull();
    expect(host.textContent?.trim()).toBe('x');
  });

  it('keeps the boxes of a task list dead', () => {
    const box = rendered('- [x] done').querySelector('input');
    expect(box?.getAttribute('type')).toBe('checkbox');
    expect(box?.hasAttribute('disabled')).toBe(true);
  });
});

describe('splitBlocks', () => {
  const text =
    '# Title\n\nA paragraph\nin two lines.\n\n```js\nlet a;\n\nlet b;\n```\n\n- one\n\n- two\n\n\nThe end.';

  it('cuts at top-level blocks and loses nothing', () => {
    const blocks = splitBlocks(text);
    expect(blocks.join('')).toBe(text);
    expect(blocks.map((block) => block.trim().split('\n')[0])).toEqual([
      '# Title',
      'A paragraph',
      '```js',
      '- one',
      'The end.',
    ]);
  });

  it('leaves all blocks but the last as they were while text is appended', () => {
    let before: string[] = [];
    for (let length = 1; length <= text.length; length += 1) {
      const blocks = splitBlocks(text.slice(0, length));
      expect(blocks.slice(0, Math.max(0, before.length - 1))).toEqual(before.slice(0, -1));
      before = blocks;
    }
  });

  it('has no blocks where there is no text', () => {
    expect(splitBlocks('')).toEqual([]);
  });
});
