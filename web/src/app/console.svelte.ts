/** What this page knows of its gateway, kept fresh while the page is open; every view reads it from here. */
import { dataPlanePath, voicePath, type ProviderAddress } from '../core/api/addresses';
import {
  ApiFailure,
  ConsoleApi,
  type AccountView,
  type ConfigView,
  type ProviderView,
  type SessionChange,
  type SessionView,
} from '../core/api/console';

export const api = new ConsoleApi();

/** `loading`: no answer yet; `offline`: the last question got none. */
export type Connection = 'loading' | 'online' | 'offline';

/** What stands between a provider and its first answer. */
export type KeyNeed = 'set' | 'missing' | 'not-needed';

const CALM_MS = 15_000;
const EAGER_MS = 2_000;

class Console {
  /** Who is signed in; before the first answer null. */
  login = $state.raw<AccountView | null>(null);
  config = $state.raw<ConfigView | null>(null);
  session = $state.raw<SessionView | null>(null);
  connection = $state<Connection>('loading');
  /** The gateway was away and is back, or has forgotten this browser; stays until dismissed. */
  returned = $state<{ readonly sessionLost: boolean } | null>(null);
  /** The gateway ships another console than the one that runs here. */
  outdated = $state(false);

  #loadedBuild: string | null = null;
  #loading: Promise<void> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Ask for the first time, then keep watching until the page is left. Never rejects: see `connection`. */
  load(): Promise<void> {
    this.#loading ??= this.#start();
    return this.#loading;
  }

  /** Ask again now, and from now on as often as the state of things wants. Never rejects: see `connection`. */
  async refresh(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#ask();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.refresh(), this.#settled() ? CALM_MS : EAGER_MS);
  }

  async #ask(): Promise<void> {
    const sessionBefore = this.session;
    try {
      const [login, told] = await Promise.all([api.account(), this.#told()]);
      if (!sameFacts(this.login, login)) this.login = login;
      if (login.sign_in_required || !told) {
        this.#forget();
        return;
      }
      // An answer that was on its way while this page changed its session is older than what the page knows.
      if (this.session === sessionBefore) this.#learn(...told);
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      this.connection = 'offline';
    }
  }

  /** What the gateway tells whoever may know; asked beside who that is, so that a page waits once. */
  async #told(): Promise<[ConfigView, SessionView] | null> {
    if (this.login?.sign_in_required) return null;
    try {
      return await Promise.all([api.config(), api.session()]);
    } catch (error) {
      if (error instanceof ApiFailure && error.status === 401) return null;
      throw error;
    }
  }

  /** Change this browser's settings. Throws `ApiFailure`. */
  async change(change: SessionChange): Promise<void> {
    this.session = await api.changeSession(change);
    await this.refresh();
  }

  /** Have the gateway forget this browser's settings and keys. Throws `ApiFailure`. */
  async forget(): Promise<void> {
    this.session = await api.endSession();
    await this.refresh();
  }

  /** Sign this browser out; the gateway forgets its keys, and this document all it knows. Throws `ApiFailure`. */
  async leave(): Promise<void> {
    await api.signOut();
    location.assign('/login');
  }

  get account(): string {
    return this.session?.account_id ?? this.config?.account ?? '';
  }

  get gateway(): string {
    return this.session?.gateway_id ?? this.config?.gateway ?? '';
  }

  get providers(): readonly ProviderView[] {
    return this.config?.providers ?? [];
  }

  /** The provider chosen in this browser's settings, when the gateway knows it. */
  get provider(): ProviderView | undefined {
    return this.session ? this.find(this.session.provider) : undefined;
  }

  find(slug: string): ProviderView | undefined {
    return this.providers.find((provider) => provider.slug === slug);
  }

  keyNeed(provider: ProviderView): KeyNeed {
    if (provider.key.set) return 'set';
    return provider.needs_key ? 'missing' : 'not-needed';
  }

  /** Where a provider is on the data plane. */
  address({ slug }: ProviderView): ProviderAddress {
    return { account: this.account, gateway: this.gateway, provider: slug };
  }

  chatPath(provider: ProviderView): string | null {
    return provider.chat_path === null ? null : dataPlanePath(this.address(provider), provider.chat_path);
  }

  modelsPath(provider: ProviderView): string | null {
    return provider.models_path === null ? null : dataPlanePath(this.address(provider), provider.models_path);
  }

  /** The path, with its query, of a provider's voice through the gateway. */
  voicePath(provider: ProviderView, model: string): string {
    return voicePath(this.address(provider), model);
  }

  /** Somebody must sign in: what was told to whoever was signed in is not for them. */
  #forget(): void {
    this.config = null;
    this.session = null;
    this.returned = null;
    this.connection = 'online';
  }

  async #start(): Promise<void> {
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') void this.refresh();
    });
    await this.refresh();
  }

  #settled(): boolean {
    return this.connection === 'online' && this.config?.local.status !== 'starting';
  }

  #learn(config: ConfigView, session: SessionView): void {
    const sessionLost = this.session !== null && holdsSecrets(this.session) && !holdsSecrets(session);
    if (this.connection === 'offline' && this.config !== null) this.returned = { sessionLost };
    else if (sessionLost) this.returned = { sessionLost };
    this.#loadedBuild ??= config.console_build;
    this.outdated = config.console_build !== this.#loadedBuild;
    // Views redraw on a new object: the same facts again are no news.
    if (!sameFacts(this.config, config)) this.config = config;
    if (!sameFacts(this.session, session)) this.session = session;
    this.connection = 'online';
  }
}

function holdsSecrets(session: SessionView): boolean {
  return session.gateway_token.set || Object.keys(session.provider_keys).length > 0;
}

function sameFacts(known: object | null, told: object): boolean {
  return JSON.stringify(known) === JSON.stringify(told);
}

export const app = new Console();
