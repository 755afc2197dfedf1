import { describe, expect, it } from 'vitest';

import { MicrophoneWatch } from './microphone-watch';

const NOBODY = { assistant: false, user: false };
const ASSISTANT = { assistant: true, user: false };

function hear(watch: MicrophoneWatch, seconds: number, rms: number, speaking = NOBODY): void {
  for (let frame = 0; frame < seconds * 25; frame += 1) watch.frame(rms, 40, speaking);
}

describe('MicrophoneWatch', () => {
  it('takes five seconds of nothing for a dead microphone, until something is heard', () => {
    const watch = new MicrophoneWatch();
    hear(watch, 4.9, -90);
    expect(watch.isSilent).toBe(false);
    hear(watch, 0.2, -90);
    expect(watch.isSilent).toBe(true);
    hear(watch, 0.1, -40);
    expect(watch.isSilent).toBe(false);
  });

  it('does not count the time in which the microphone is off', () => {
    const watch = new MicrophoneWatch();
    hear(watch, 4, -90);
    watch.rest();
    hear(watch, 4, -90);
    expect(watch.isSilent).toBe(false);
  });

  it('does not worry while the assistant speaks', () => {
    const watch = new MicrophoneWatch();
    hear(watch, 20, -90, ASSISTANT);
    expect(watch.isSilent).toBe(false);
  });

  it('notices an assistant that hears itself', () => {
    const watch = new MicrophoneWatch();
    hear(watch, 0.9, -20, ASSISTANT);
    hear(watch, 0.5, -60, ASSISTANT);
    expect(watch.hearsItself).toBe(false);
    hear(watch, 1, -20, ASSISTANT);
    expect(watch.hearsItself).toBe(true);
  });

  it('does not take a user who speaks for an echo', () => {
    const watch = new MicrophoneWatch();
    hear(watch, 3, -20, { assistant: true, user: true });
    hear(watch, 3, -20);
    expect(watch.hearsItself).toBe(false);
  });
});
