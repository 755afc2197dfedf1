/** Colours for code, loaded when the first code block is complete. */
import highlighter from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import json from 'highlight.js/lib/languages/json';
import python from 'highlight.js/lib/languages/python';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';
import DOMPurify from 'dompurify';

for (const [name, language] of Object.entries({ bash, json, python, typescript, xml, yaml })) {
  highlighter.registerLanguage(name, language);
}

/** Return the code with its words marked by `hljs-` classes, or null for a language that is not known. */
export function highlight(code: string, language: string): DocumentFragment | null {
  if (!highlighter.getLanguage(language)) return null;
  const { value } = highlighter.highlight(code, { language, ignoreIllegals: true });
  return DOMPurify.sanitize(value, {
    ALLOWED_TAGS: ['span'],
    ALLOWED_ATTR: ['class'],
    RETURN_DOM_FRAGMENT: true,
  });
}
