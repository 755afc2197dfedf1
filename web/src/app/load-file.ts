/** Lets somebody choose a file, and reads it as text. */
const LARGEST_BYTES = 2_000_000;

export interface LoadedFile {
  readonly name: string;
  /** Null where the file is too large to be what is looked for. */
  readonly text: string | null;
}

/** Read the file of an input, which may be chosen again. Null where none is chosen. */
export async function loadFile(input: HTMLInputElement): Promise<LoadedFile | null> {
  const file = input.files?.[0];
  if (!file) return null;
  const text = file.size > LARGEST_BYTES ? null : await file.text();
  input.value = '';
  return { name: file.name, text };
}
