import { defineConfig } from '@playwright/test';

import { ALLOWED, LAUNCH } from './tests/browser/chromium';

export default defineConfig({
  projects: [
    { name: 'browser', testDir: './tests/browser' },
    { name: 'pictures', testDir: './tests/pictures' },
  ],
  outputDir: './test-results',
  globalSetup: './tests/browser/prepare.setup.ts',
  // One at a time: the pages share two cores with a language model and each other's audio clocks.
  workers: 1,
  forbidOnly: true,
  timeout: 90_000,
  expect: { timeout: 30_000 },
  reporter: [['list']],
  use: {
    viewport: { width: 1280, height: 860 },
    trace: 'off',
    launchOptions: { ...LAUNCH, args: [...LAUNCH.args, ...ALLOWED] },
  },
});
