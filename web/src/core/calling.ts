/** How programs call a gateway: texts that work as they are, but for the key. */

import { GATEWAY_TOKEN_HEADER } from '../gen/constants';
import { dataPlanePath } from './api/addresses';

export const CALLS = ['curl', 'python', 'realtime'] as const;
export type Call = (typeof CALLS)[number];

/** The base URL for clients of OpenAI's API. */
export function baseUrl(origin: string, account: string, gateway: string): string {
  return origin + dataPlanePath({ account, gateway, provider: 'compat' }, '').replace(/\/$/, '');
}

/** A request to the embedded model, which needs no provider's key. `key` stands for a key of the gateway. */
export function callText(call: Call, base: string, key: string): string {
  switch (call) {
    case 'curl':
      return `curl ${base}/chat/completions \\
  -H "authorization: Bearer ${key}" -H "content-type: application/json" \\
  -d '{"model": "local/local", "messages": [{"role": "user", "content": "Hello"}]}'`;
    case 'python':
      return `from openai import OpenAI

client = OpenAI(base_url="${base}", api_key="${key}")
answer = client.chat.completions.create(
    model="local/local", messages=[{"role": "user", "content": "Hello"}]
)
print(answer.choices[0].message.content)`;
    case 'realtime':
      return `const socket = new WebSocket(
  "${base.replace(/^http/, 'ws')}/realtime?model=local/local",
  ["realtime", "${GATEWAY_TOKEN_HEADER}.${key}"],
);
socket.onmessage = ({ data }) => console.log(JSON.parse(data).type);`;
  }
}
