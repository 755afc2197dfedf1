/** The colour theme: the system's, unless this browser was told otherwise. */
import type { Theme } from '../core/storage';
import { preferences } from './preferences';

export const themes: readonly Theme[] = ['system', 'light', 'dark'];

class ThemeChoice {
  current = $state<Theme>(preferences.read('theme'));
  /** Nothing moves, whatever the system says. */
  calm = $state(preferences.read('calm'));

  choose(theme: Theme): void {
    this.current = theme;
    preferences.write('theme', theme);
    this.apply();
  }

  chooseCalm(calm: boolean): void {
    this.calm = calm;
    preferences.write('calm', calm);
    this.apply();
  }

  /** Whether who looks wants nothing to move. */
  get isCalm(): boolean {
    return this.calm || matchMedia('(prefers-reduced-motion: reduce)').matches;
  }

  /** Shows the choice; the stylesheet follows the system where the document names no theme. */
  apply(): void {
    if (this.current === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = this.current;
    document.documentElement.toggleAttribute('data-calm', this.calm);
  }
}

export const theme = new ThemeChoice();
