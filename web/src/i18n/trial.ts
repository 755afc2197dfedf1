/** A language to try the console with: English whose letters all have accents and whose vowels stand twice. */

const PLAIN = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
const ACCENTED = 'åƀçđéƒĝĥîĵķļɱñöþǫŕšţûṽŵẋýžÅƁÇĐÉƑĜĤÎĴĶĻṀÑÖÞǪŔŠŢÛṼŴẊÝŽ';
const LETTERS = new Map([...PLAIN].map((letter, place) => [letter, [...ACCENTED][place] ?? letter]));
const made = new WeakMap<object, object>();

/** A text about 40 % longer that has no plain letter left, but in the places that are filled: `{name}`. */
export function accented(text: string): string {
  return text.replace(/\{\w+\}|[a-z]/gi, (found) => {
    const letter = LETTERS.get(found);
    if (letter === undefined) return found;
    return /[aeiou]/.test(found) ? letter + letter : letter;
  });
}

/** The same catalogue in the trial language; made once for each. */
export function rewritten<Own>(own: Own): Own {
  if (typeof own === 'string') return accented(own) as Own;
  if (typeof own !== 'object' || own === null) return own;
  const known = made.get(own);
  if (known) return known as Own;
  const copy = Array.isArray(own)
    ? own.map(rewritten)
    : Object.fromEntries(Object.entries(own).map(([name, value]) => [name, rewritten(value as unknown)]));
  made.set(own, copy);
  return copy as Own;
}
