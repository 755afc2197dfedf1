/**
 * Model output as a document fragment. It is hostile until shown otherwise: raw HTML appears as the text it is, images
 * become links (loading one would tell a stranger what was said), and only http, https and mailto links can be followed.
 */

import DOMPurify from 'dompurify';
import { Lexer, Marked, type Token, type Tokens } from 'marked';

const marked = new Marked({
  gfm: true,
  renderer: {
    html: (token: Tokens.HTML | Tokens.Tag) =>
      token.block ? `<p>${escaped(token.text)}</p>\n` : escaped(token.text),
    image: ({ href, text }: Tokens.Image) => anchor(href, escaped(text || href)),
    link({ href, tokens }: Tokens.Link) {
      return anchor(href, this.parser.parseInline(tokens));
    },
  },
});

const FOLLOWED = /^(?:https?:|mailto:)/i;

const ALLOWED = {
  ALLOWED_TAGS: [
    ...['p', 'br', 'hr', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'blockquote', 'ul', 'ol', 'li', 'pre', 'code'],
    ...['strong', 'em', 'del', 'a', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'input'],
  ],
  ALLOWED_ATTR: ['href', 'title', 'rel', 'target', 'class', 'start', 'align', 'type', 'checked', 'disabled'],
  ALLOWED_URI_REGEXP: FOLLOWED,
  // Without this the pattern above would be asked about their values too.
  ADD_URI_SAFE_ATTR: ['rel', 'target', 'start', 'align', 'type', 'checked', 'disabled'],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true as const,
};

/** Render markdown for `document`, by default the page's own. */
export function renderMarkdown(text: string, document?: Document): DocumentFragment {
  return purifierOf(document).sanitize(markdownHtml(text), ALLOWED);
}

/** The markup before it is purified a second time. For a page use `renderMarkdown`. */
export function markdownHtml(text: string): string {
  return marked.parse(text, { async: false });
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

function purifierOf(document: Document | undefined): typeof DOMPurify {
  const view = document?.defaultView;
  // A second instance on the page's own window would ask for the same Trusted Types policy again and be refused.
  if (!view || view === globalThis.window) return DOMPurify;
  return DOMPurify(view);
}

/** `content` is HTML already. An address that may not be followed leaves its text behind; others are shown in full. */
function anchor(href: string, content: string): string {
  if (!FOLLOWED.test(href)) return content;
  const address = escaped(href);
  return `<a href="${address}" title="${address}" rel="noopener noreferrer nofollow" target="_blank">${content}</a>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
