/** The pages by name: those of the application, and the one that is a document of its own. */
export type PageName =
  | 'overview'
  | 'chat'
  | 'voice'
  | 'history'
  | 'logs'
  | 'sessions'
  | 'analytics'
  | 'gateways'
  | 'access'
  | 'routes'
  | 'providers'
  | 'probe'
  | 'people'
  | 'settings'
  | 'login';
export type DocumentPage = PageName | 'direct';
