/** The graph of a dynamic route: read from JSON, put into an order to read it in, and written back. */

import { asList, asObject, asString, parseJson, type JsonObject } from './narrow';

export interface RouteOutput {
  readonly name: string;
  /** The id of the element that the way goes on at. */
  readonly to: string;
}

export interface RouteElement {
  readonly id: string;
  readonly type: string;
  readonly properties: JsonObject;
  readonly outputs: readonly RouteOutput[];
}

/** What is in a route's JSON, or what is wrong with it before the gateway has looked. */
export type ReadRoute =
  | { readonly kind: 'route'; readonly name: string | undefined; readonly elements: readonly JsonObject[] }
  | { readonly kind: 'not-json'; readonly reason: string }
  | { readonly kind: 'no-elements' };

/** What the name of a route may be, as the gateway has it. */
export const ROUTE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Read a list of elements, or an exported route: an object with `elements` and perhaps its `name`. */
export function readRoute(text: string): ReadRoute {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { kind: 'not-json', reason: error instanceof Error ? error.message : '' };
  }
  const whole = asObject(value);
  const list = asList(value) ?? asList(whole?.['elements']);
  const elements = list?.map(asObject);
  if (!elements?.length || !elements.every((element) => element !== undefined))
    return { kind: 'no-elements' };
  return { kind: 'route', name: asString(whole?.['name']), elements };
}

/** The elements that have an id, in the order of a reader who follows every way from the start. */
export function elementsToRead(elements: readonly JsonObject[]): readonly RouteElement[] {
  const all = elements.flatMap(elementOf);
  const byId = new Map(all.map((element) => [element.id, element]));
  const found = new Set<RouteElement>();
  const follow = (element: RouteElement | undefined): void => {
    if (!element || found.has(element)) return;
    found.add(element);
    for (const { to } of element.outputs) follow(byId.get(to));
  };
  follow(all.find(({ type }) => type === 'start'));
  return [...found, ...all.filter((element) => !found.has(element))];
}

function elementOf(value: JsonObject): RouteElement[] {
  const id = asString(value['id']);
  if (id === undefined) return [];
  const outputs = Object.entries(asObject(value['outputs']) ?? {}).flatMap(([name, output]) => {
    const to = asString(asObject(output)?.['elementId']);
    return to === undefined ? [] : [{ name, to }];
  });
  const type = asString(value['type']) ?? '';
  return [{ id, type, properties: asObject(value['properties']) ?? {}, outputs }];
}

const WIDTH = 88;

/** JSON for people: what fits on a line stays on one. */
export function readableJson(value: unknown, indent = ''): string {
  const list = asList(value);
  const object = asObject(value);
  const short = oneLine(value);
  if ((!list && !object) || indent.length + short.length <= WIDTH) return short;
  const deeper = `${indent}  `;
  const parts = list
    ? list.map((one) => readableJson(one, deeper))
    : Object.entries(object ?? {}).map(
        ([name, one]) => `${JSON.stringify(name)}: ${readableJson(one, deeper)}`,
      );
  const [open, close] = list ? ['[', ']'] : ['{', '}'];
  return `${open}\n${parts.map((part) => deeper + part).join(',\n')}\n${indent}${close}`;
}

function oneLine(value: unknown): string {
  const list = asList(value);
  if (list) return `[${list.map(oneLine).join(', ')}]`;
  const object = asObject(value);
  if (!object) return JSON.stringify(value);
  const parts = Object.entries(object).map(([name, one]) => `${JSON.stringify(name)}: ${oneLine(one)}`);
  return parts.length > 0 ? `{ ${parts.join(', ')} }` : '{}';
}

/** How conditions are said; a field and a value are filled in. */
export interface ConditionWords {
  readonly always: string;
  readonly and: string;
  readonly or: string;
  /** By the operators of MongoDB. */
  readonly comparisons: Readonly<Record<string, string>>;
}

/** One thing that must be true; `choice` where it is several of which one is enough. */
interface Term {
  readonly text: string;
  readonly choice: boolean;
}

/** Conditions as MongoDB writes them, in words. A comparison that is not known is shown as it is written. */
export function conditionsInWords(conditions: JsonObject, words: ConditionWords): string {
  return allOf(termsOf(conditions, words), words);
}

function allOf(terms: readonly Term[], words: ConditionWords): string {
  if (terms.length < 2) return terms[0]?.text ?? words.always;
  return terms.map(({ text, choice }) => (choice ? `(${text})` : text)).join(` ${words.and} `);
}

function termsOf(conditions: JsonObject, words: ConditionWords): readonly Term[] {
  return Object.entries(conditions).flatMap(([name, value]) => {
    const list = asList(value)?.map((one) => termsOf(asObject(one) ?? {}, words));
    if (list && name === '$and') return list.flat();
    if (list && name === '$or') return oneOf(list, words);
    return comparisonsOf(name, asObject(value) ?? { $eq: value }, words);
  });
}

function oneOf(choices: readonly (readonly Term[])[], words: ConditionWords): readonly Term[] {
  if (choices.length < 2) return choices.flat();
  const texts = choices.map((terms) => (terms.length > 1 ? `(${allOf(terms, words)})` : allOf(terms, words)));
  return [{ text: texts.join(` ${words.or} `), choice: true }];
}

function comparisonsOf(field: string, comparison: JsonObject, words: ConditionWords): readonly Term[] {
  return Object.entries(comparison).map(([operator, wanted]) => {
    const sentence = words.comparisons[operator] ?? `{field} ${operator} {value}`;
    const value = asList(wanted)?.map(oneLine).join(', ') ?? oneLine(wanted);
    return {
      text: sentence.replace(/\{(field|value)\}/g, (_, place) => (place === 'field' ? field : value)),
      choice: false,
    };
  });
}

export interface Entry {
  readonly name: string;
  readonly value: string;
}

/**
 * Metadata as a request's header carries it. True, false and numbers count as such, and as a text in quotes.
 *
 * Entries without a name are left out.
 */
export function metadataOf(entries: readonly Entry[]): Readonly<Record<string, boolean | number | string>> {
  const named = entries.filter(({ name }) => name.trim() !== '');
  return Object.fromEntries(named.map(({ name, value }) => [name.trim(), tagOf(value.trim())]));
}

function tagOf(text: string): boolean | number | string {
  const value = parseJson(text);
  return typeof value === 'boolean' || typeof value === 'number' || typeof value === 'string' ? value : text;
}
