/** What a new route begins as: it works on every gateway, because it asks the embedded model. */
export const FIRST_ROUTE = [
  { id: 'start', type: 'start', outputs: { next: { elementId: 'first' } } },
  {
    id: 'first',
    type: 'model',
    properties: { provider: 'local', model: 'local', timeout: 30000, retries: 1 },
    outputs: { success: { elementId: 'end' }, fallback: { elementId: 'end' } },
  },
  { id: 'end', type: 'end', outputs: {} },
] as const;
