import { defineConfig } from '@playwright/test';

import { ALLOWED, LAUNCH } from './tests/browser/chromium';

/** What is heard or measured has the machine to itself: both cores, a language model and two audio clocks at once. */
const TIMED = [
  'barge-in',
  'compare',
  'long-answer',
  'microphone',
  'performance',
  'voice',
  'voice-targets',
].map((name) => `**/${name}.spec.ts`);

export default defineConfig({
  projects: [
    { name: 'browser', testDir: './tests/browser', testIgnore: TIMED },
    {
      name: 'timed',
      testDir: './tests/browser',
      testMatch: TIMED,
      workers: 1,
      dependencies: ['browser'],
    },
    { name: 'pictures', testDir: './tests/pictures', workers: 1 },
  ],
  outputDir: './test-results',
  globalSetup: './tests/browser/prepare.setup.ts',
  workers: 2,
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
