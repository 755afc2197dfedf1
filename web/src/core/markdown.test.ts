// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';

import { renderMarkdown, splitBlocks } from './markdown';

function rendered(text: string): HTMLElement {
  const host = document.createElement('div');
  host.append(renderMarkdown(text));
  return host;
}

describe('renderMarkdown', () => {
  it('renders structure', () => {
    const host = rendered('# Title\n\n- one\n- **two**\n\n```python\nprint(1)\n```');
    expect(host.querySelector('h3.h1')?.textContent).toBe('Title');
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

  const HTTP = 'https://example.test/';
  const hostile = [
    '<script>alert(1)</script>',
    '</p></div><script src=//example.test/x.js></script>',
    '<ScRiPt\u000a>alert(1)</sCrIpT>',
    '<scr<script>ipt>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '<img/src="x"/onerror=alert(1)//',
    '<svg/onload=alert(1)>',
    '<svg><animate onbegin=alert(1) attributeName=x dur=1s>',
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    '<details open ontoggle=alert(1)>',
    '<iframe src="javascript:alert(1)"></iframe>',
    '<object data="data:text/html;base64,PHNjcmlwdD4="></object>',
    '<embed src="//example.test/x.swf">',
    '<base href="//example.test/">',
    '<meta http-equiv="refresh" content="0;url=//example.test/">',
    '<link rel=stylesheet href="//example.test/x.css">',
    '<a href="javascript:alert(1)">x</a>',
    '<button formaction=javascript:alert(1)>x</button>',
    '<template><script>alert(1)</script></template>',
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    '<!--><img src=x onerror=alert(1)>-->',
    '<![CDATA[<img src=x onerror=alert(1)>]]>',
    '<?xml version="1.0"?><x/>',
    '&lt;script&gt;alert(1)&lt;/script&gt;',
    '&#60;img src=x onerror=alert(1)&#62;',
    '[x](javascript&#58;alert(1))',
    '[x](java\nscript:alert(1))',
    '[x](\u0001javascript:alert(1))',
    '[x]( javascript:alert(1))',
    '[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)',
    '[x](vbscript:msgbox(1))',
    '[x](file:///etc/passwd)',
    '[x](blob:https://example.test/1)',
    '[x][1]\n\n[1]: javascript:alert(1)',
    '![x](javascript:alert(1))',
    '![x](x" onerror="alert(1))',
    '<javascript:alert(1)>',
    '[x](https://example.test/"onmouseover="alert(1))',
    '[<img src=x onerror=alert(1)>](https://example.test/)',
    '![<img src=x onerror=alert(1)>](https://example.test/x.png)',
    '`<img src=x onerror=alert(1)>`',
    '```html"><img src=x onerror=alert(1)>\n<script>alert(1)</script>\n```',
    '```" onclick="alert(1)\nx\n```',
    '# <svg onload=alert(1)>',
    '- <img src=x onerror=alert(1)>',
    '> <img src=x onerror=alert(1)>',
    '| <img src=x onerror=alert(1)> |\n|---|\n| <script>alert(1)</script> |',
    '**<b onclick=alert(1)>x</b>**',
    '__proto__ [constructor](javascript:alert(1)) toString',
  ];
  /** All that may be on a page, and the attributes of each. */
  const allowed: Readonly<Record<string, readonly string[]>> = {
    a: ['href', 'title', 'rel', 'target'],
    blockquote: [],
    br: [],
    code: ['class'],
    del: [],
    div: ['class', 'tabindex'],
    em: [],
    h3: ['class'],
    hr: [],
    li: [],
    ol: ['start'],
    p: [],
    pre: ['tabindex'],
    strong: [],
    table: [],
    tbody: [],
    td: ['class'],
    th: ['class'],
    thead: [],
    tr: [],
    ul: [],
  };

  function expectHarmless(host: HTMLElement): void {
    for (const element of host.querySelectorAll('*')) {
      const attributes = allowed[element.localName];
      expect(attributes, element.outerHTML).toBeDefined();
      for (const { name } of element.attributes) expect(attributes, element.outerHTML).toContain(name);
      const href = element.getAttribute('href');
      if (href !== null) expect(new URL(href, HTTP).protocol).toMatch(/^(?:https?|mailto):$/);
    }
  }

  it.each(hostile)('makes nothing but its own kinds of nodes of %j', (text) => {
    const host = rendered(text);
    expectHarmless(host);
    expect(host.textContent).not.toBe('');
  });

  it('makes nothing else of one after another, nor of the beginning of one', () => {
    const whole = document.createElement('div');
    hostile.forEach((text, at) => {
      whole.append(renderMarkdown(text + (hostile[at + 1] ?? '')));
      whole.append(renderMarkdown(`${text}\n${hostile[at + 7] ?? ''}`));
      for (let length = 1; length < text.length; length += 5)
        whole.append(renderMarkdown(text.slice(0, length)));
    });
    expectHarmless(whole);
  });

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

  it('shows the boxes of a task list, which are no controls', () => {
    const host = rendered('- [x] done\n- [ ] open');
    expect(host.querySelector('input')).toBeNull();
    expect([...host.querySelectorAll('li')].map((item) => item.textContent)).toEqual(['☑ done', '☐ open']);
  });

  it.each([
    ['a **b** *c* ~~d~~ `e`', '<p>a <strong>b</strong> <em>c</em> <del>d</del> <code>e</code></p>'],
    ['> a\n>\n> b', '<blockquote><p>a</p><p>b</p></blockquote>'],
    ['1. a\n\n2. b', '<ol><li><p>a</p></li><li><p>b</p></li></ol>'],
    ['- a\n  - b\n- c', '<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>'],
    ['- a\n\n  ```\n  x\n  ```', '<ul><li><p>a</p><pre tabindex="0"><code>x\n</code></pre></li></ul>'],
    ['a  \nb\n\n---', '<p>a<br>b</p><hr>'],
    ['\\*a\\* \\<b\\>', '<p>*a* &lt;b&gt;</p>'],
    [
      'AT&amp;T &lt;&#8364;&#x20AC;&nope; &constructor;',
      '<p>AT&amp;T &lt;€€&amp;nope; &amp;constructor;</p>',
    ],
    ['`&amp;`', '<p><code>&amp;amp;</code></p>'],
    [
      '| a | b |\n|:--|--:|\n| 1 | **2** |',
      '<div class="scroller" tabindex="0"><table><thead><tr><th>a</th><th class="right">b</th></tr></thead><tbody><tr><td>1</td><td class="right"><strong>2</strong></td></tr></tbody></table></div>',
    ],
  ])('renders %j', (text, html) => {
    expect(rendered(text).innerHTML).toBe(html);
  });

  it('follows addresses that stand for themselves', () => {
    const links = rendered('See https://example.test/a?b=1&c=2, or <mail@example.test>.').querySelectorAll(
      'a',
    );
    expect([...links].map((link) => link.getAttribute('href'))).toEqual([
      'https://example.test/a?b=1&c=2',
      'mailto:mail@example.test',
    ]);
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

  it('cuts long lists and paragraphs, which would be slow to render anew', () => {
    const items = Array.from({ length: 100 }, (_, at) => `${at + 1}. item`).join('\n');
    const lines = Array.from({ length: 100 }, (_, at) => `line ${at}`).join('\n');
    const blocks = splitBlocks(`${items}\n\n${lines}`);
    expect(blocks.join('')).toBe(`${items}\n\n${lines}`);
    expect(blocks.map((block) => block.trim().split('\n').length)).toEqual([40, 40, 20, 40, 40, 20]);
    expect(rendered(blocks[1] ?? '').querySelector('ol')?.start).toBe(41);
  });

  it('makes line ends what they are in the page', () => {
    expect(splitBlocks('a\r\n\r\nb\rc')).toEqual(['a\n\n', 'b\nc']);
  });

  it('has no blocks where there is no text', () => {
    expect(splitBlocks('')).toEqual([]);
  });
});
