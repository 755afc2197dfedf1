/** How Chromium is started: without its window, its sandbox and its talk with the outside. */
export const LAUNCH = {
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--use-fake-device-for-media-stream',
  ],
};

/** The person at the browser allows the microphone. */
export const ALLOWED = ['--use-fake-ui-for-media-stream'];
