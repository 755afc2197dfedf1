/** An id that nobody else makes: 128 bits in hexadecimal. Made without `randomUUID`, which plain HTTP pages lack. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
