/**
 * Model output as nodes of the page. It is hostile until shown otherwise: nodes are made of the kinds below and of text
 * and of nothing else, so there is no markup to get past anything. Raw HTML appears as the text it is, images become links
 * (loading one would tell a stranger what was said), and only http, https and mailto links can be followed.
 */

import { Lexer, type Token, type Tokens } from 'marked';

const FOLLOWED = /^(?:https?:|mailto:)/i;
const ENTITY = /&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]+));/gi;
const NAMED: Readonly<Record<string, string>> = {
  ...{ amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', copy: '©', reg: '®', trade: '™' },
  ...{ hellip: '…', ndash: '–', mdash: '—', lsquo: '‘', rsquo: '’', ldquo: '“', rdquo: '”', bull: '•' },
  ...{ larr: '←', uarr: '↑', rarr: '→', darr: '↓', harr: '↔', times: '×', middot: '·', deg: '°', euro: '€' },
};
/** Inline and block tokens that are one element with others in it. */
const PLAIN = {
  ...{ paragraph: 'p', blockquote: 'blockquote', strong: 'strong', em: 'em', del: 'del' },
  ...{ br: 'br', hr: 'hr' },
} as const satisfies Readonly<Record<string, keyof HTMLElementTagNameMap>>;

/** Make the nodes of markdown. Headings come below those of the page, and what is wide scrolls by itself. */
export function renderMarkdown(text: string): DocumentFragment {
  return filled(document.createDocumentFragment(), new Lexer({ gfm: true }).lex(text));
}

function filled<Parent extends Node>(parent: Parent, tokens: readonly Token[] = []): Parent {
  for (const token of tokens) {
    const node = nodeOf(token as Tokens.Generic);
    if (node) parent.appendChild(node);
  }
  return parent;
}

function nodeOf(token: Tokens.Generic): Node | null {
  const plain = own(PLAIN, token.type);
  if (plain) return filled(document.createElement(plain), token.tokens);
  switch (token.type) {
    case 'space':
    case 'def':
      return null;
    case 'heading':
      return filled(element('h3', `h${(token as Tokens.Heading).depth}`), token.tokens);
    case 'code':
      return codeBlock(token as Tokens.Code);
    case 'codespan':
      return withText(document.createElement('code'), (token as Tokens.Codespan).text);
    case 'list':
      return listOf(token as Tokens.List);
    case 'checkbox':
      return document.createTextNode((token as Tokens.Checkbox).checked ? '☑ ' : '☐ ');
    case 'table':
      return tableOf(token as Tokens.Table);
    case 'link':
      return linkTo((token as Tokens.Link).href, filled(document.createDocumentFragment(), token.tokens));
    case 'image': {
      const { href, text } = token as Tokens.Image;
      return linkTo(href, document.createTextNode(text || href));
    }
    case 'html':
      return (token as Tokens.HTML).block
        ? withText(document.createElement('p'), token.raw)
        : document.createTextNode(token.raw);
    case 'text':
      if (token.tokens) return filled(document.createDocumentFragment(), token.tokens);
      return document.createTextNode(decoded((token as Tokens.Text).text));
    case 'escape':
      return document.createTextNode((token as Tokens.Escape).text);
    default:
      return document.createTextNode(token.raw);
  }
}

function codeBlock({ text, lang }: Tokens.Code): HTMLElement {
  const block = document.createElement('pre');
  const language = /^\S+/.exec(lang ?? '')?.[0];
  const code = element('code', language ? `language-${language}` : '');
  block.tabIndex = 0;
  block.append(withText(code, text && `${text}\n`));
  return block;
}

function listOf({ ordered, start, items }: Tokens.List): HTMLElement {
  const list = document.createElement(ordered ? 'ol' : 'ul');
  if (list instanceof HTMLOListElement && start !== '' && start !== 1) list.start = start;
  for (const { tokens, loose } of items) {
    const item = document.createElement('li');
    for (const token of tokens) {
      const into = loose && token.type === 'text' ? item.appendChild(document.createElement('p')) : item;
      filled(into, [token]);
    }
    list.append(item);
  }
  return list;
}

function tableOf({ header, rows }: Tokens.Table): HTMLElement {
  const table = document.createElement('table');
  fillRow(table.createTHead().insertRow(), header, 'th');
  const body = table.createTBody();
  for (const row of rows) fillRow(body.insertRow(), row, 'td');
  const scroller = element('div', 'scroller');
  scroller.tabIndex = 0;
  scroller.append(table);
  return scroller;
}

function fillRow(row: HTMLElement, cells: readonly Tokens.TableCell[], name: 'th' | 'td'): void {
  for (const { tokens, align } of cells) {
    const cell = filled(document.createElement(name), tokens);
    if (align && align !== 'left') cell.className = align;
    row.append(cell);
  }
}

/** An address that may not be followed leaves its text behind; others are shown in full. */
function linkTo(href: string, content: Node): Node {
  if (!FOLLOWED.test(href)) return content;
  const link = document.createElement('a');
  link.href = link.title = href;
  link.rel = 'noopener noreferrer nofollow';
  link.target = '_blank';
  link.append(content);
  return link;
}

function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  className: string,
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  if (className) made.className = className;
  return made;
}

function withText<Parent extends Node>(parent: Parent, text: string): Parent {
  parent.textContent = text;
  return parent;
}

/** Read the entities that people and models write. */
function decoded(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(ENTITY, (entity, decimal?: string, hexadecimal?: string, name?: string) => {
    if (name !== undefined) return own(NAMED, name) ?? entity;
    const code = decimal === undefined ? parseInt(hexadecimal ?? '', 16) : Number(decimal);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : entity;
  });
}

/** What a model writes may be the name of anything that objects have. */
function own<Value>(table: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/** Items of a list, and lines of a paragraph, after which a block is cut: what is longer is slow to render anew. */
const LONGEST = 40;

/**
 * Cut markdown at the borders of its top-level blocks, and within long lists and paragraphs. Joined, the pieces are the
 * text again, with its line ends made `\n`; all but the last stay the same while text is appended, so a view that streams
 * has to render only the last one anew.
 */
export function splitBlocks(text: string): string[] {
  const blocks: string[] = [];
  for (const token of new Lexer({ gfm: true }).blockTokens(text.replace(/\r\n?/g, '\n'))) {
    const last = blocks.length - 1;
    // Blank lines belong to the block before them: alone they would be a block that changes its mind.
    if (token.type === 'space' && last >= 0) blocks[last] += token.raw;
    else blocks.push(...cut(token));
  }
  return blocks;
}

function cut(token: Token): string[] {
  const lines =
    token.type === 'list'
      ? (token as Tokens.List).items.map(({ raw }) => raw)
      : token.type === 'paragraph'
        ? (token.raw.match(/[^\n]*\n|[^\n]+$/g) ?? [])
        : [];
  if (lines.length <= LONGEST) return [token.raw];
  const pieces: string[] = [];
  for (let at = 0; at < lines.length; at += LONGEST) pieces.push(lines.slice(at, at + LONGEST).join(''));
  return pieces;
}
