// A program: what the AI SDK does on an application's server, so that a page of the application can dial. Prints one
// line of JSON with a client secret and the address that the AI SDK gives for it: the host alone, at its root, whatever
// base URL the secret was made at.
import { createOpenAI } from '@ai-sdk/openai';

const { baseUrl, key, model } = JSON.parse(process.env.TOLD);
const { experimental_realtime: realtime } = createOpenAI({ baseURL: baseUrl, apiKey: key });
console.log(JSON.stringify(await realtime.getToken({ model, api: 'realtime', expiresAfterSeconds: 600 })));
