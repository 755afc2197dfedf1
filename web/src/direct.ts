import './styles/base.css';

import { mount } from 'svelte';

import { app } from './app/console.svelte';
import { theme } from './app/theme.svelte';
import { turn } from './app/turn';
import { words } from './i18n/index.svelte';
import DirectDocument from './pages/voice/DirectDocument.svelte';
import { own } from './pages/voice/words.svelte';

theme.apply();
void app.load();
await Promise.all([words.start(), turn()]);

const target = document.getElementById('app');
void own.load().then(() => target && mount(DirectDocument, { target }));
