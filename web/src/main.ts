import './styles/base.css';

import { mount } from 'svelte';

import { app } from './app/console.svelte';
import { router } from './app/router.svelte';
import Shell from './app/Shell.svelte';
import { shortcuts } from './app/shortcuts.svelte';
import { theme } from './app/theme.svelte';
import { turn } from './app/turn';
import { words } from './i18n/index.svelte';

theme.apply();
router.start();
shortcuts.visit = (path) => router.go(path);
void app.load();
// Beside the first answers; that it failed is shown where it is shown.
void router.route?.load().catch(() => undefined);
await Promise.all([words.start(), turn()]);

const target = document.getElementById('app');
if (target) mount(Shell, { target });
