// While an input method composes, Enter accepts what it offers; Safari tells so only by this code.
const COMPOSING = 229;

/** Whether a key press in a message box means "send". */
export function sendsMessage(event: KeyboardEvent): boolean {
  return event.key === 'Enter' && !event.shiftKey && !event.isComposing && event.keyCode !== COMPOSING;
}
