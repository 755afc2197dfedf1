/** What a form for a custom provider holds, and what is sent of it. */

import { KEPT, type CustomChange, type CustomProvider } from './api/providers';

export interface HeaderRow {
  name: string;
  /** Empty where the value that the gateway keeps is to stay. */
  value: string;
  /** Whether the gateway keeps a value under that name. */
  readonly kept: boolean;
}

export type HeaderProblem =
  | { readonly kind: 'unnamed' }
  | { readonly kind: 'empty'; readonly name: string }
  | { readonly kind: 'twice'; readonly name: string };

/** The name that a provider is reached by, as the gateway has it. */
export const SLUG = /^[a-z0-9](?:[a-z0-9-]{0,54}[a-z0-9])?$/;

/** A slug for a name that somebody types; empty where nothing of it can be in one. */
export function slugOf(name: string): string {
  const plain = name.normalize('NFKD').toLowerCase();
  return plain
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 56)
    .replace(/^-+|-+$/g, '');
}

export function rowsOf({ headers }: Pick<CustomProvider, 'headers'>): HeaderRow[] {
  return Object.keys(headers).map((name) => ({ name, value: '', kept: true }));
}

export type ReadHeaders =
  { readonly headers: Readonly<Record<string, string>> } | { readonly problem: HeaderProblem };

/** The headers to send: what is kept as the sign for it. Rows with neither name nor value are left out. */
export function readHeaders(rows: readonly HeaderRow[]): ReadHeaders {
  const headers = new Map<string, string>();
  const seen = new Set<string>();
  for (const row of rows) {
    const name = row.name.trim();
    const value = row.value.trim();
    if (name === '' && value === '') continue;
    if (name === '') return { problem: { kind: 'unnamed' } };
    if (value === '' && !row.kept) return { problem: { kind: 'empty', name } };
    if (seen.has(name.toLowerCase())) return { problem: { kind: 'twice', name } };
    seen.add(name.toLowerCase());
    headers.set(name, value || KEPT);
  }
  return { headers: Object.fromEntries(headers) };
}

/** What differs from the provider as it is known; headers only where somebody touched them. */
export function changesOf(known: CustomProvider, wanted: Required<CustomChange>): CustomChange {
  const change: CustomChange = {};
  if (wanted.name !== known.name) change.name = wanted.name;
  if (wanted.base_url !== known.base_url) change.base_url = wanted.base_url;
  if (wanted.enabled !== known.enabled) change.enabled = wanted.enabled;
  if (wanted.chat_path !== known.chat_path) change.chat_path = wanted.chat_path;
  if (wanted.models_path !== known.models_path) change.models_path = wanted.models_path;
  const isSame = JSON.stringify(wanted.headers) === JSON.stringify(known.headers);
  if (!isSame) change.headers = wanted.headers;
  return change;
}
