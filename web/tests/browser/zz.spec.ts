import { test } from './fixtures';
import { settled } from './pages';
test.use({ storageState: async ({ furnished }, use) => use(furnished.signedIn) });
for (const path of ['/', '/chat', '/logs', '/voice', '/access'])
test(path, async ({ page, furnished }) => {
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  await session.send('Network.emulateNetworkConditions', { offline: false, latency: 40, downloadThroughput: 1.25e6, uploadThroughput: 1.25e6 });
  await session.send('Emulation.setCPUThrottlingRate', { rate: 4 });
  await page.addInitScript(() => {
    const out: string[] = []; (window as any).out = out;
    const d = (n: any) => n ? `${n.nodeName}.${n.className ?? ''}` + (n.textContent ?? '').trim().slice(0, 30) : '?';
    new PerformanceObserver((l) => l.getEntries().forEach((e: any) => out.push(`${Math.round(e.startTime)} shift ${e.value.toFixed(3)} ${e.hadRecentInput} ` + e.sources.map((s: any) => `${d(s.node)} y ${s.previousRect.y}->${s.currentRect.y} h ${s.previousRect.height}->${s.currentRect.height}`).join(' | ')))).observe({ type: 'layout-shift', buffered: true });
    new PerformanceObserver((l) => l.getEntries().forEach((e: any) => out.push(`${Math.round(e.startTime)} lcp ${d(e.element)} size ${e.size}`))).observe({ type: 'largest-contentful-paint', buffered: true });
    new PerformanceObserver((l) => l.getEntries().forEach((e: any) => out.push(`${Math.round(e.startTime)} task ${e.duration}`))).observe({ type: 'longtask', buffered: true });
    new PerformanceObserver((l) => l.getEntries().forEach((e: any) => out.push(`${Math.round(e.startTime)}-${Math.round(e.responseEnd)} ${e.name.split('/').slice(3).join('/')} ${e.transferSize}`))).observe({ type: 'resource', buffered: true });
  });
  await page.goto(furnished.gateway.url + path);
  await settled(page);
  await page.waitForTimeout(800);
  console.log(path + '\n' + (await page.evaluate(() => (window as any).out.sort((a: string, b: string) => parseInt(a) - parseInt(b)).join('\n'))));
});
