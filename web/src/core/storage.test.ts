// @vitest-environment happy-dom
import { beforeEach, describe, expect, it } from 'vitest';

import { DEFAULT_PREFERENCES, PreferenceStore } from './storage';

beforeEach(() => localStorage.clear());

describe('PreferenceStore', () => {
  it('remembers what was written, for the next page too', () => {
    new PreferenceStore().write('theme', 'dark');
    new PreferenceStore().write('panelSizes', { events: 240 });
    expect(new PreferenceStore().read('theme')).toBe('dark');
    expect(new PreferenceStore().read('panelSizes')).toEqual({ events: 240 });
  });

  it.each([
    ['theme', '"pink"'],
    ['theme', '{'],
    ['language', '"<script>"'],
    ['panelSizes', '[1]'],
    ['shortcuts', '"yes"'],
  ] as const)('takes a stored %s of %s for none', (name, stored) => {
    localStorage.setItem(`trunkline.${name}`, stored);
    expect(new PreferenceStore().read(name)).toEqual(DEFAULT_PREFERENCES[name]);
  });

  it('drops panel sizes that are no sizes', () => {
    localStorage.setItem('trunkline.panelSizes', '{"events": 240, "list": "wide", "log": -1}');
    expect(new PreferenceStore().read('panelSizes')).toEqual({ events: 240 });
  });

  it('forgets a preference set to null, and everything when asked', () => {
    const store = new PreferenceStore();
    store.write('inputDeviceId', 'mic-1');
    store.write('inputDeviceId', null);
    expect(localStorage.length).toBe(0);
    store.write('theme', 'light');
    store.clear();
    expect(localStorage.length).toBe(0);
    expect(store.read('theme')).toBe('system');
  });

  it('serves the page where storage is blocked', () => {
    const store = new PreferenceStore(null);
    store.write('theme', 'dark');
    expect(store.read('theme')).toBe('dark');
  });
});
