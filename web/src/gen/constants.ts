/** Made by docs/generate.py from the Python of the gateway. Change that and run `make gen`. */
export const CONSOLE_HEADER = 'x-trunkline-console';
export const CLIENT_SECRETS_HEADER = 'x-trunkline-client-secrets';
export const ERROR_CODE_HEADER = 'cf-aig-error-code';
export const GATEWAY_TOKEN_HEADER = 'cf-aig-authorization';
export const SCOPES = ['run', 'read', 'edit'] as const;
