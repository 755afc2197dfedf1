/**
 * The console in its trial language, accented English of a translation's length: whatever is still plain was written
 * into a view instead of a catalogue. And from right to left, where what does not turn would run out of the window.
 */
import type { Page } from '@playwright/test';

import { FIELDS } from '../../src/core/filters';
import { accented } from '../../src/i18n/trial';
import { expect, test } from './fixtures';
import { openDialog, overflow, PAGES, settled } from './pages';

/** The same in every language: names, abbreviations, what `Intl` writes, and the places of an address to fill. */
const NAMES = new RegExp(
  `\\b(${[
    ...[
      'Trunkline',
      'OpenAI',
      'cURL',
      'Python',
      'JavaScript',
      'CSV',
      'JSONL',
      'HTTP',
      'POST',
      'WS',
      'SSE',
      'URL',
      'JSON',
    ],
    ...[
      'AM',
      'PM',
      'Jan',
      'Feb',
      'Mar',
      'Apr',
      'May',
      'Jun',
      'Jul',
      'Aug',
      'Sep',
      'Oct',
      'Nov',
      'Dec',
      'USD',
      'UTC',
    ],
    ...['ms', 'sec', 'min', 'hr', 'day', 'days', 'kB', 'byte', 'bytes', 'dB'],
    ...['custom-SLUG', 'dynamic/NAME', 'Fake Audio Input', 'Fake Audio Output'],
    ...['alloy', 'ash', 'ballad', 'cedar', 'coral', 'echo', 'marin', 'sage', 'shimmer', 'verse'],
    ...FIELDS,
  ].join('|')})\\b`,
  'g',
);
const LONG = 300_000;

test.use({ storageState: async ({ furnished }, use) => use(furnished.signedIn) });

test('every word that a page shows, names or hints at is in a catalogue', async ({ page, furnished }) => {
  test.setTimeout(LONG);
  const data = told(page);
  await speak(page, 'en-XA');
  await page.setViewportSize({ width: 375, height: 860 });
  const seen: string[] = [];
  const found: string[] = [];
  const look = async (name: string) => {
    seen.push(...(await texts(page)));
    found.push(...(await overflow(page)).map((what) => `${name} overflows: ${what}`));
  };
  for (const place of PAGES) {
    await page.goto(furnished.gateway.url + (place.filled?.(furnished) ?? place.path));
    await settled(page);
    await look(place.name);
    if (place.filled) await page.goto(furnished.gateway.url + place.path);
    await settled(page);
    await openDialog(page, place, accented);
    await look(`${place.name}, dialog`);
  }
  const known = await data();
  expect(new Set([...found, ...seen.filter((text) => isPlain(text, known))])).toEqual(new Set());
});

test('from right to left every page turns, and none runs out of the window', async ({ page, furnished }) => {
  test.setTimeout(LONG);
  await speak(page, 'ar-XB');
  const found: string[] = [];
  for (const place of PAGES) {
    await page.setViewportSize({ width: 1280, height: 860 });
    await page.goto(furnished.gateway.url + (place.filled?.(furnished) ?? place.path));
    await settled(page);
    await expect(page.locator('html')).toHaveAttribute('dir', 'rtl');
    const rail = await page.locator('nav').first().boundingBox();
    expect(rail?.x, place.name).toBeGreaterThan(640);
    found.push(...(await overflow(page)).map((what) => `${place.name}, wide: ${what}`));
    await page.setViewportSize({ width: 375, height: 860 });
    found.push(...(await overflow(page)).map((what) => `${place.name}, narrow: ${what}`));
  }
  expect(found).toEqual([]);
});

async function speak(page: Page, language: string): Promise<void> {
  await page.addInitScript(
    (tag) => localStorage.setItem('trunkline.language', JSON.stringify(tag)),
    language,
  );
}

/** Every string that the gateway sends from now on, names of members too: those are data, in no language. */
function told(page: Page): () => Promise<ReadonlySet<string>> {
  const answers: Promise<void>[] = [];
  const strings = new Set<string>();
  const keep = (value: unknown): void => {
    if (typeof value === 'string') {
      strings.add(value.trim());
      // Markdown is shown without its marks.
      for (const piece of value.split(/[*`\n]+/)) strings.add(piece.trim());
    }
    if (Array.isArray(value)) value.forEach(keep);
    else if (value !== null && typeof value === 'object')
      for (const [name, inner] of Object.entries(value)) {
        strings.add(name);
        keep(inner);
      }
  };
  page.on('response', (response) => {
    if (!/json/.test(response.headers()['content-type'] ?? '')) return;
    // An answer that the page had no time to read was not shown either.
    answers.push(response.json().then(keep, () => undefined));
  });
  return async () => {
    await Promise.all(answers);
    return strings;
  };
}

/** What somebody reads, or is read to: texts, and the attributes that are words. */
function texts(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const OTHER = 'script, style, code, pre, kbd, textarea, noscript, [lang]:not(html), [translate="no"]';
    const found: string[] = [document.title];
    const walker = document.createTreeWalker(
      document.querySelector('#app')!,
      NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT,
    );
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node instanceof Element ? node : node.parentElement;
      if (!element || element.closest(OTHER)) continue;
      if (!(node instanceof Element)) found.push(node.textContent ?? '');
      else
        for (const name of [
          'aria-label',
          'title',
          'placeholder',
          'alt',
          'aria-description',
          'aria-roledescription',
        ])
          found.push(node.getAttribute(name) ?? '');
    }
    return found.map((text) => text.trim()).filter((text) => text !== '');
  });
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

/** Whether a text has a plain word left when names and what the gateway said are taken out of it. */
function isPlain(text: string, data: ReadonlySet<string>): boolean {
  if (!/[a-z]{2}/i.test(text)) return false;
  const known = [...data].filter((word) => word.length > 1 && text.includes(word));
  const rest = known
    .sort((one, other) => other.length - one.length)
    .reduce((left, word) => left.replace(new RegExp(`(?<!\\w)${escaped(word)}(?!\\w)`, 'g'), ' '), text);
  return /(?<!\p{L})[a-z]{2,}(?!\p{L})/iu.test(rest.replace(NAMES, ' '));
}
