/** Single-key shortcuts, which can be switched off (WCAG 2.1.4). */
import { places } from './places';
import { preferences } from './preferences';

const LONGEST_PAUSE_MS = 1200;
const PATHS = new Map(places.map(({ key, path }) => [key, path]));

class Shortcuts {
  enabled = $state(preferences.read('shortcuts'));
  /** Whether the list of shortcuts is on screen. */
  listed = $state(false);
  /** How to get to another page; the document with the router sets its own way. */
  visit: (path: string) => void = (path) => location.assign(path);

  readonly #actions = new Map<string, () => void>();
  #leader = -LONGEST_PAUSE_MS;

  choose(enabled: boolean): void {
    this.enabled = enabled;
    preferences.write('shortcuts', enabled);
  }

  /** Give a page's own action a key; call what is returned when the page goes. */
  bind(key: string, action: () => void): () => void {
    this.#actions.set(key, action);
    return () => {
      if (this.#actions.get(key) === action) this.#actions.delete(key);
    };
  }

  /** Act on a key pressed outside of text boxes and dialogs. */
  press(event: KeyboardEvent): void {
    if (!this.enabled || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (takesKeys(event.target) || document.querySelector('dialog[open]')) return;
    const action = this.#meaning(event);
    if (!action) return;
    event.preventDefault();
    action();
  }

  #meaning(event: KeyboardEvent): (() => void) | undefined {
    const place = event.timeStamp - this.#leader < LONGEST_PAUSE_MS ? PATHS.get(event.key) : undefined;
    this.#leader = event.key === 'g' ? event.timeStamp : -LONGEST_PAUSE_MS;
    if (place !== undefined) return () => this.visit(place);
    if (event.key === '?') return () => (this.listed = true);
    return this.#actions.get(event.key);
  }
}

function takesKeys(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest('input, textarea, select') !== null;
}

export const shortcuts = new Shortcuts();
