/**
 * What this browser may remember. The list is closed on purpose: nothing typed into the console, and no key, ever
 * reaches web storage, because any script of this origin could read it there.
 */

import { asNumber, asObject, asString, parseJson } from './narrow';

export type Theme = 'system' | 'light' | 'dark';

export interface Preferences {
  theme: Theme;
  /** A language tag such as `en`; null follows the browser. */
  language: string | null;
  /** Sizes of resizable panels in CSS pixels, by panel name. */
  panelSizes: Readonly<Record<string, number>>;
  /** null is the system's default device. */
  inputDeviceId: string | null;
  outputDeviceId: string | null;
  /** Whether single-key shortcuts are on (WCAG 2.1.4 asks for the switch). */
  shortcuts: boolean;
  /** Whether the overview goes without its first steps. */
  firstStepsHidden: boolean;
  /** Whether nothing may move, even where the system has nothing against it. */
  calm: boolean;
}

export const DEFAULT_PREFERENCES: Preferences = {
  theme: 'system',
  language: null,
  panelSizes: {},
  inputDeviceId: null,
  outputDeviceId: null,
  shortcuts: true,
  firstStepsHidden: false,
  calm: false,
};

const PREFIX = 'trunkline.';

/** Readers turn a stored value back into a preference; anything unexpected counts as not stored. */
const READERS: { [Name in keyof Preferences]: (stored: unknown) => Preferences[Name] | undefined } = {
  theme: (stored) => (stored === 'system' || stored === 'light' || stored === 'dark' ? stored : undefined),
  language: languageTag,
  panelSizes: (stored) => {
    const sizes = asObject(stored);
    return (
      sizes && Object.fromEntries(Object.entries(sizes).flatMap(([panel, size]) => positiveSize(panel, size)))
    );
  },
  inputDeviceId: (stored) => asString(stored),
  outputDeviceId: (stored) => asString(stored),
  shortcuts: truth,
  firstStepsHidden: truth,
  calm: truth,
};

/** Reads and writes preferences. Where storage is blocked they last as long as the page. */
export class PreferenceStore {
  readonly #storage: Storage | null;
  readonly #unstored = new Map<string, string>();

  constructor(storage: Storage | null = browserStorage()) {
    this.#storage = storage;
  }

  read<Name extends keyof Preferences>(name: Name): Preferences[Name] {
    const text = this.#get(PREFIX + name);
    const value = text === null ? undefined : READERS[name](parseJson(text));
    return value ?? DEFAULT_PREFERENCES[name];
  }

  write<Name extends keyof Preferences>(name: Name, value: Preferences[Name]): void {
    const key = PREFIX + name;
    if (value === null) {
      this.#remove(key);
      return;
    }
    const text = JSON.stringify(value);
    this.#unstored.set(key, text);
    try {
      this.#storage?.setItem(key, text);
    } catch {
      // Full or forbidden: the value above serves until the page is left.
    }
  }

  /** Forget everything the console has stored in this browser. */
  clear(): void {
    for (const name of Object.keys(READERS)) this.#remove(PREFIX + name);
  }

  #get(key: string): string | null {
    try {
      return this.#storage?.getItem(key) ?? this.#unstored.get(key) ?? null;
    } catch {
      return this.#unstored.get(key) ?? null;
    }
  }

  #remove(key: string): void {
    this.#unstored.delete(key);
    try {
      this.#storage?.removeItem(key);
    } catch {
      // What could not be stored need not be removed.
    }
  }
}

function truth(stored: unknown): boolean | undefined {
  return typeof stored === 'boolean' ? stored : undefined;
}

function languageTag(stored: unknown): string | undefined {
  const tag = asString(stored);
  return tag !== undefined && /^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$/.test(tag) ? tag : undefined;
}

function positiveSize(panel: string, stored: unknown): [string, number][] {
  const size = asNumber(stored);
  return size !== undefined && size > 0 ? [[panel, size]] : [];
}

function browserStorage(): Storage | null {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null; // reading the property throws where the user has blocked storage
  }
}
