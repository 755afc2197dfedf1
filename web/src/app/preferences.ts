/** The one store of what this browser remembers. */
import { PreferenceStore } from '../core/storage';

export const preferences = new PreferenceStore();
