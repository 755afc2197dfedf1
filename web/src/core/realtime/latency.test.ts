import { describe, expect, it } from 'vitest';

import { LatencyMeter } from './latency';

describe('LatencyMeter', () => {
  it('has measured nothing before anything happened', () => {
    expect(new LatencyMeter().summary).toEqual({
      connect: null,
      toFirstByte: { heard: null, spoken: null },
      toFirstSound: { heard: null, spoken: null },
      bargeInToSilence: null,
      bufferDepthMs: 0,
      roundTrip: null,
    });
  });

  it('counts connecting from the click, retries included', () => {
    const meter = new LatencyMeter();
    meter.clicked(1000);
    meter.sessionCreated(1143);
    meter.sessionCreated(5000);
    expect(meter.summary.connect).toMatchObject({ count: 1, last: 143 });
  });

  it('counts from the news of the end of speech and from the last voiced frame', () => {
    const meter = new LatencyMeter();
    meter.frameSent(900, -20);
    meter.frameSent(1000, -20);
    meter.frameSent(1400, -80);
    meter.speechEnded(1500);
    meter.firstByte(1880);
    meter.firstByte(1990);
    meter.firstSound(1955);
    const { toFirstByte, toFirstSound } = meter.summary;
    expect([toFirstByte.heard?.last, toFirstByte.spoken?.last]).toEqual([380, 880]);
    expect([toFirstSound.heard?.last, toFirstSound.spoken?.last]).toEqual([455, 955]);
    expect(toFirstByte.heard?.count).toBe(1);
  });

  it('does not take a later sound of the same answer for a first one', () => {
    const meter = new LatencyMeter();
    meter.speechEnded(0);
    meter.firstByte(100);
    meter.firstSound(200);
    meter.firstSound(900);
    expect(meter.summary.toFirstSound.heard).toMatchObject({ count: 1, last: 200 });
  });

  it('does not measure an answer to a typed question', () => {
    const meter = new LatencyMeter();
    meter.speechEnded(0);
    meter.turnDropped();
    meter.firstByte(100);
    expect(meter.summary.toFirstByte.heard).toBeNull();
  });

  it('gives the median and the 95th percentile as values that occurred', () => {
    const meter = new LatencyMeter();
    for (let value = 1; value <= 100; value += 1) meter.silencedAfter(value);
    expect(meter.summary.bargeInToSilence).toEqual({ count: 100, last: 100, p50: 50, p95: 95 });
  });

  it('matches answers to questions in their order', () => {
    const meter = new LatencyMeter();
    meter.updateSent(0);
    meter.updateSent(10);
    meter.updateAnswered(30);
    meter.updateAnswered(50);
    meter.updateAnswered(99);
    expect(meter.summary.roundTrip).toMatchObject({ count: 2, p50: 30, p95: 40 });
  });
});
