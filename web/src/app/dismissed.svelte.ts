/** Notices put away for as long as this document is open. */
import { SvelteSet } from 'svelte/reactivity';

export const dismissed = new SvelteSet<'demo' | 'insecure'>();
