/** The pages by name: those of the application, and the one that is a document of its own. */
export type PageName =
  'chat' | 'voice' | 'probe' | 'sessions' | 'routes' | 'providers' | 'settings' | 'login';
export type DocumentPage = PageName | 'direct';
