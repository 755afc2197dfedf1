/** Resolves when the browser has had its turn: what a page shows is made in pieces, between which it stays alive. */
export function turn(): Promise<void> {
  return new Promise((done) => setTimeout(done));
}
