/** The colour theme: the system's, unless this browser was told otherwise. */
import type { Theme } from '../core/storage';
import { preferences } from './preferences';

export const themes: readonly Theme[] = ['system', 'light', 'dark'];

class ThemeChoice {
  current = $state<Theme>(preferences.read('theme'));

  choose(theme: Theme): void {
    this.current = theme;
    preferences.write('theme', theme);
    this.apply();
  }

  /** Shows the choice; the stylesheet follows the system where the document names no theme. */
  apply(): void {
    if (this.current === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = this.current;
  }
}

export const theme = new ThemeChoice();
