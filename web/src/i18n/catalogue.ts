/** The shape of a catalogue: English has it by nature, every other language by this type. */
import type { en } from './en';

export type Catalogue = Widen<typeof en>;
/** The same places with any words in them. */
export type Widen<T> = { readonly [Key in keyof T]: T[Key] extends string ? string : Widen<T[Key]> };
