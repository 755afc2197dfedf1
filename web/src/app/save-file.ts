/** Hands a file made in this page to the browser's downloads. */
export function saveFile(name: string, type: string, content: string | Uint8Array<ArrayBuffer>): void {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  // The browser takes the file after this task; it is let go of once that is surely done.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
