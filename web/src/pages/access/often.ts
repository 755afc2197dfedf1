/** What is used changes while it is looked at. */
import type { Resource } from '../../app/resource.svelte';

const OFTEN_MS = 15_000;

/** Read at once, and again while somebody looks; returns what ends that. */
export function everySoOften(...resources: readonly Resource<unknown>[]): () => void {
  const read = (): void => resources.forEach((resource) => void resource.read());
  read();
  const timer = setInterval(() => {
    if (document.visibilityState === 'visible') read();
  }, OFTEN_MS);
  return () => {
    clearInterval(timer);
    resources.forEach((resource) => resource.stop());
  };
}
