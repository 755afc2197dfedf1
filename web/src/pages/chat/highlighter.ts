/** Colours for code, loaded when the first code block is complete. */
import highlighter from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import json from 'highlight.js/lib/languages/json';
import python from 'highlight.js/lib/languages/python';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';

for (const [name, language] of Object.entries({ bash, json, python, typescript, xml, yaml })) {
  highlighter.registerLanguage(name, language);
}

const TAG = /<span class="([^"]*)">|<\/span>/g;
const ENTITY = /&(?:amp|lt|gt|quot|#x27);/g;
const CHARACTERS: Readonly<Record<string, string>> = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#x27;': "'",
};

/** Return the code with its words marked by `hljs-` classes, or null for a language that is not known. */
export function highlight(code: string, language: string): DocumentFragment | null {
  if (!highlighter.getLanguage(language)) return null;
  return marked(highlighter.highlight(code, { language, ignoreIllegals: true }).value);
}

/** Make nodes of the highlighter's markup: nothing but spans and text can come of it, so it need not be purified. */
function marked(markup: string): DocumentFragment {
  const fragment = new DocumentFragment();
  let within: Node = fragment;
  let at = 0;
  for (const tag of markup.matchAll(TAG)) {
    within.appendChild(textOf(markup.slice(at, tag.index)));
    at = tag.index + tag[0].length;
    if (tag[1] === undefined) {
      within = within.parentNode ?? fragment;
      continue;
    }
    const span = document.createElement('span');
    span.className = tag[1];
    within = within.appendChild(span);
  }
  within.appendChild(textOf(markup.slice(at)));
  return fragment;
}

function textOf(markup: string): Text {
  return new Text(markup.replace(ENTITY, (entity) => CHARACTERS[entity] ?? entity));
}
