/** Single-key shortcuts, which can be switched off (WCAG 2.1.4). */
import { preferences } from './preferences';
import { router } from './router.svelte';

class Shortcuts {
  enabled = $state(preferences.read('shortcuts'));
  /** Whether the list of shortcuts is on screen. */
  listed = $state(false);
  #afterG = 0;

  choose(enabled: boolean): void {
    this.enabled = enabled;
    preferences.write('shortcuts', enabled);
  }

  /** Acts on a key pressed outside of any text box. */
  press(event: KeyboardEvent): void {
    if (!this.enabled || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTyping(event.target) || document.querySelector('dialog[open]')) return;
    const follows = event.timeStamp - this.#afterG < LONGEST_PAUSE_MS;
    this.#afterG = event.key === 'g' ? event.timeStamp : -LONGEST_PAUSE_MS;
    if (event.key === '?') this.listed = true;
    else if (follows && event.key === 'c') router.go('/');
    else if (follows && event.key === 'v') router.go('/voice');
    else if (follows && event.key === 'd') location.assign('/direct/');
    else if (follows && event.key === 's') router.go('/settings');
    else return;
    event.preventDefault();
  }
}

const LONGEST_PAUSE_MS = 1200;

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest('input, textarea, select, [contenteditable]') !== null;
}

export const shortcuts = new Shortcuts();
