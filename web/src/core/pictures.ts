/** Pictures that are shown to a model: made small, and without what a camera wrote into them, such as the place. */

import { asObject, asString } from './narrow';

export interface Picture {
  /** `data:`, with all of it. */
  readonly url: string;
  /** What it is called to those who do not see it. */
  readonly name: string;
}

/** CSS pixels on the longer side; no provider looks at more. */
export const LONGEST_SIDE = 2048;
/** In one question. */
export const MOST_PICTURES = 4;
/** Characters of `data:` in one question: the gateway keeps so much of a message. */
export const MOST_CHARACTERS = 4_000_000;

const SHOWN = /^data:image\/(?:jpeg|png|webp|gif);base64,/;
// From the best; a picture that is still too long after the last is refused.
const QUALITIES = [0.9, 0.75, 0.5];

/** The size at which a picture is sent: as it is where neither side is longer than `longest`. */
export function fitted(width: number, height: number, longest = LONGEST_SIDE): [number, number] {
  const scale = Math.min(1, longest / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/** Read a file as a picture. Throws what the browser throws for one that is none, and `RangeError` for one too large. */
export async function readPicture(file: File, room = MOST_CHARACTERS): Promise<Picture> {
  const bitmap = await createImageBitmap(file);
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = fitted(bitmap.width, bitmap.height);
  const context = canvas.getContext('2d');
  if (!context) throw new RangeError('The browser draws no pictures.');
  context.fillStyle = '#fff'; // what is transparent would be black
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  for (const quality of QUALITIES) {
    const url = canvas.toDataURL('image/jpeg', quality);
    if (url.length <= room) return { url, name: file.name };
  }
  throw new RangeError('The picture is too large.');
}

/** As it is kept with its question. */
export function picturePart({ url, name }: Picture): Readonly<Record<string, unknown>> {
  return { type: 'image_url', image_url: { url }, alt: name };
}

/** Whether a part of a message is a picture that can be shown: no address is ever fetched. */
export function isPicturePart(part: unknown): boolean {
  return SHOWN.test(urlOf(part));
}

export function pictureOf(part: unknown): Picture {
  return { url: urlOf(part), name: asString(asObject(part)?.['alt']) ?? '' };
}

function urlOf(part: unknown): string {
  return asString(asObject(asObject(part)?.['image_url'])?.['url']) ?? '';
}
