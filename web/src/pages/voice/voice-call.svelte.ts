/** The call of one page: the controller, and its state as the views read it. */
import { AudioEngine } from '../../core/audio/engine';
import type { Snapshot } from '../../core/conversation-saver';
import { FirstSeen } from '../../core/first-seen';
import { newId } from '../../core/ids';
import type { Transcript } from '../../core/realtime/reducer';
import { ofTranscript } from '../../core/stored-transcript';
import { VoiceController, type VoiceSnapshot } from '../../core/realtime/controller';
import type { RealtimeTransport } from '../../core/realtime/transport';
import type { ProviderView } from '../../core/api/console';
import { LevelHistory } from './level-history';
import { wishes } from './wishes.svelte';

/** Wanted only once something is said, so that the page is there sooner; it was fetched when the call began. */
const stores = (): Promise<typeof import('../../app/conversation-saving.svelte')> =>
  import('../../app/conversation-saving.svelte');

/** Deltas come many times a second, and each would lay out the page anew. */
const GATHERED_MS = 50;

/** Makes the connection to a provider's model; the gateway's own way tells by what secret its session is known. */
export type Dial = (
  provider: ProviderView,
  model: string,
  minted: (secretId: string) => void,
) => RealtimeTransport;

export class VoiceCall {
  readonly controller: VoiceController;
  readonly levels = new LevelHistory();
  snapshot: VoiceSnapshot;
  /** Who is, or was, talked to. */
  provider: ProviderView | null;
  /** By which the gateway knows the session; empty where it has none. */
  secretId: string;

  /** Under which the gateway keeps what is said in the call. */
  #conversation = newId();
  #model = '';
  readonly #firstSeen = new FirstSeen();
  #gathering: ReturnType<typeof setTimeout> | undefined;

  readonly underWay: boolean;
  readonly live: boolean;

  constructor(dial: Dial) {
    this.controller = new VoiceController({
      audio: new AudioEngine(),
      transport: () => this.#dial(dial),
    });
    this.snapshot = $state.raw(this.controller.snapshot);
    this.provider = $state.raw(null);
    this.secretId = $state('');
    this.live = $derived(this.snapshot.status === 'live');
    this.underWay = $derived(this.snapshot.status !== 'idle' && this.snapshot.status !== 'failed');
  }

  /** Follow the controller. Returns how to end the call and stop that. */
  watch(): () => void {
    const unsubscribe = this.controller.subscribe((snapshot) => this.#changed(snapshot));
    const stopLevels = this.controller.onLevels((levels) => this.levels.add(levels, performance.now()));
    // A page that comes back by the browser's back button must not show a call that is no more.
    const leave = () => void this.controller.disconnect();
    addEventListener('pagehide', leave);
    return () => {
      clearTimeout(this.#gathering);
      removeEventListener('pagehide', leave);
      void this.controller.disconnect();
      unsubscribe();
      stopLevels();
    };
  }

  /** Within the user's click. */
  connect(microphone = wishes.microphone): void {
    const { provider } = wishes;
    if (!provider || this.underWay) return;
    this.provider = provider;
    this.secretId = '';
    this.#conversation = newId();
    this.#model = wishes.model;
    void stores();
    this.levels.clear();
    this.controller.setHalfDuplex(wishes.halfDuplex);
    void this.controller.connect(wishes.options(provider, microphone));
  }

  /** Say something by text; where there is no call this begins one without the microphone. */
  say(text: string): void {
    if (!this.underWay) this.connect(false);
    this.controller.sendText(text);
  }

  #dial(dial: Dial): RealtimeTransport {
    if (!this.provider) throw new Error('No provider was chosen.');
    return dial(this.provider, wishes.model, (id) => (this.secretId = id));
  }

  /** What the call does is shown at once, and what it says a moment later. */
  #changed({ status, phase, problem }: VoiceSnapshot): void {
    const shown = this.snapshot;
    if (status !== shown.status || phase !== shown.phase || problem !== shown.problem) this.#show();
    else this.#gathering ??= setTimeout(() => this.#show(), GATHERED_MS);
  }

  #show(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    const { snapshot } = this.controller;
    const { lastInterruption } = snapshot;
    if (lastInterruption && lastInterruption !== this.snapshot.lastInterruption) {
      this.levels.interrupted(lastInterruption.atMs, performance.now());
    }
    if (snapshot.transcript !== this.snapshot.transcript)
      this.#store(snapshot.transcript, snapshot.status === 'live');
    this.snapshot = snapshot;
  }

  #store(transcript: Transcript, goesOn: boolean): void {
    for (const { id } of transcript.items) this.#firstSeen.at(id);
    const model = this.#model;
    const provider = this.provider?.slug ?? '';
    const messages = ofTranscript(transcript, model, (id) => this.#firstSeen.at(id));
    const head = messages.at(-1)?.id;
    if (head === undefined) return;
    const kept: Snapshot = { kind: 'voice', model, provider, settings: {}, head, messages };
    const id = this.#conversation;
    void stores().then(({ saving }) => saving.saver.note(id, () => kept, !goesOn));
  }
}
