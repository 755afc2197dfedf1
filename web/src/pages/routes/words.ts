/** The words of this page: read `own.t` where they follow the language. */
import { dollars } from '../../app/formats';
import { asNumber, asObject, asString, type JsonObject } from '../../core/narrow';
import { conditionsInWords, type RouteElement } from '../../core/routes';
import { fill, words } from '../../i18n/index.svelte';
import { routes as de } from '../../i18n/routes.de';
import { routes as en, type RoutesWords } from '../../i18n/routes.en';

export const own = {
  get t(): RoutesWords {
    return words.of({ en, de });
  },
};

/** What a type of element is called; one that is not known, by itself. */
export function nameOfType(type: string): string {
  const known: Readonly<Record<string, string>> = own.t.types;
  return known[type] ?? type;
}

/** What an element does, in sentences. */
export function propertiesOf({ type, properties }: RouteElement): string {
  const t = own.t.properties;
  switch (type) {
    case 'start':
      return t.start;
    case 'end':
      return t.end;
    case 'percentage':
      return t.percentage;
    case 'conditional':
      return fill(t.conditional, {
        conditions: conditionsInWords(conditionsOf(properties), own.t.conditions),
      });
    case 'rate': {
      const isCost = properties['limitType'] === 'cost';
      const limit = asNumber(properties['limit']) ?? 0;
      return fill(isCost ? t.cost : t.requests, {
        limit: isCost ? dollars(limit) : words.number(limit),
        window: span(asNumber(properties['window']) ?? 0),
        key: asString(properties['key']) ?? '',
      });
    }
    case 'model': {
      const timeout = asNumber(properties['timeout']) ?? 0;
      const retries = asNumber(properties['retries']) ?? 0;
      return [
        fill(t.model, { model: modelOf(properties) }),
        timeout > 0 ? fill(t.timeout, { time: span(timeout / 1000) }) : '',
        retries > 0 ? fill(t.retries, { count: words.number(retries) }) : '',
      ]
        .filter(Boolean)
        .join(' ');
    }
    default:
      return '';
  }
}

/** The same in a few characters, where a picture has no room for more; empty where its type says all. */
export function shortProperties({ type, properties }: RouteElement): string {
  switch (type) {
    case 'conditional':
      return Object.keys(conditionsOf(properties)).join(', ');
    case 'rate':
      return asString(properties['key']) ?? '';
    case 'model':
      return modelOf(properties);
    default:
      return '';
  }
}

function conditionsOf(properties: JsonObject): JsonObject {
  // Cloudflare writes either name; what stands under both must all be true.
  const both = [asObject(properties['conditions']), asObject(properties['condition'])];
  const asked = both.filter((one) => one !== undefined && Object.keys(one).length > 0);
  return asked.length > 1 ? { $and: asked } : (asked[0] ?? {});
}

/** As a request would name it. */
function modelOf(properties: JsonObject): string {
  return `${asString(properties['provider']) ?? ''}/${asString(properties['model']) ?? ''}`;
}

const UNITS = [
  ['days', 86_400],
  ['hours', 3_600],
  ['minutes', 60],
] as const;

function span(seconds: number): string {
  const [unit, length] = UNITS.find(([, size]) => seconds >= size && seconds % size === 0) ?? ['seconds', 1];
  return fill(own.t.properties[unit], { count: words.number(seconds / length) });
}
