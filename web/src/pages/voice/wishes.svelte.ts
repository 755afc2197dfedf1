/** What the user wants of a call. Kept while the document is open; the devices are remembered by the browser. */
import { app } from '../../app/console.svelte';
import { models } from '../../app/models.svelte';
import { preferences } from '../../app/preferences';
import type { ProviderView } from '../../core/api/console';
import { USUAL_FRAME_MS, type FrameMs } from '../../core/audio/framing';
import type { VoiceMode, VoiceOptions } from '../../core/realtime/controller';
import { conversational, offerOf } from './offers';

const LOCAL = 'local';

class Wishes {
  mode = $state<VoiceMode>('vad');
  instructions = $state('');
  microphone = $state(true);
  halfDuplex = $state(false);
  frameMs = $state<FrameMs>(USUAL_FRAME_MS);
  inputDeviceId = $state(preferences.read('inputDeviceId') ?? '');
  outputDeviceId = $state(preferences.read('outputDeviceId') ?? '');
  #slug = $state<string | null>(null);
  #model = $state<string | null>(null);
  #voice = $state('alloy');

  get providers(): readonly ProviderView[] {
    return app.providers.filter((provider) => provider.realtime);
  }

  /** The one chosen here, else the one of the settings, else the local one. */
  get provider(): ProviderView | undefined {
    const wanted = [this.#slug, app.session?.provider, LOCAL];
    return wanted
      .map((slug) => this.providers.find((provider) => provider.slug === slug))
      .find((provider) => provider !== undefined);
  }

  chooseProvider(slug: string): void {
    this.#slug = slug;
    this.#model = null;
  }

  /** What the provider offers, as far as it was asked. */
  get models(): readonly string[] {
    const list = this.provider && models.of(this.provider);
    return list?.state === 'known' ? conversational(list.ids) : [];
  }

  get model(): string {
    return this.#model ?? this.#usualModel;
  }

  set model(model: string) {
    this.#model = model;
  }

  get voices(): readonly string[] {
    return this.provider ? offerOf(this.provider).voices : [];
  }

  get voice(): string {
    return this.voices.includes(this.#voice) ? this.#voice : (this.voices[0] ?? '');
  }

  set voice(voice: string) {
    this.#voice = voice;
  }

  chooseInput(deviceId: string): void {
    this.inputDeviceId = deviceId;
    preferences.write('inputDeviceId', deviceId || null);
  }

  chooseOutput(deviceId: string): void {
    this.outputDeviceId = deviceId;
    preferences.write('outputDeviceId', deviceId || null);
  }

  options(provider: ProviderView, microphone: boolean): VoiceOptions {
    return {
      model: this.model,
      voice: this.voice,
      mode: this.mode,
      microphone,
      frameMs: this.frameMs,
      transcriptionModel: offerOf(provider).transcriptionModel,
      ...(this.instructions.trim() ? { instructions: this.instructions.trim() } : {}),
      ...(this.inputDeviceId ? { inputDeviceId: this.inputDeviceId } : {}),
      ...(this.outputDeviceId ? { outputDeviceId: this.outputDeviceId } : {}),
    };
  }

  get #usualModel(): string {
    const { provider } = this;
    if (!provider) return '';
    const { session } = app;
    // A session begins with the local model, which no other provider knows.
    const isOwn = session?.provider === provider.slug && session.realtime_model !== '';
    return (isOwn ? session.realtime_model : offerOf(provider).model) || (this.models[0] ?? '');
  }
}

export const wishes = new Wishes();
