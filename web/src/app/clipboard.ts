/** Copy text, also where the page is no secure context and has no clipboard of its own. Tells whether it worked. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const area = document.createElement('textarea');
  const focused = document.activeElement;
  area.value = text;
  area.className = 'visually-hidden';
  // A dialog that is open takes the selection from everything outside of it.
  (focused?.closest('dialog') ?? document.body).append(area);
  area.select();
  // Deprecated, and the only way on a page opened over plain http.
  const copied = document.execCommand('copy');
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}
