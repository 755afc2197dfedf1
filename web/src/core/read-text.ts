/** Read a response body as text, as it arrives. Leaving the loop early cancels the body. */
export async function* readText(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let finished = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      yield decoder.decode(value, { stream: true });
    }
    finished = true;
    yield decoder.decode();
  } finally {
    // A body that failed rejects its cancellation with the same error; the caller has that error already.
    if (!finished) await reader.cancel().catch(() => undefined);
    reader.releaseLock();
  }
}
