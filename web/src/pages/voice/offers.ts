/** What each provider's voice can be asked for. */
import type { ProviderView } from '../../core/api/console';

interface Offer {
  readonly model: string;
  readonly voices: readonly string[];
  /** Which model writes down what the user says. */
  readonly transcriptionModel: string;
}

const OPENAI_VOICES = 'alloy ash ballad cedar coral echo marin sage shimmer verse'.split(' ');

const OFFERS: Readonly<Record<string, Offer>> = {
  local: { model: 'local', voices: OPENAI_VOICES, transcriptionModel: 'local' },
  openai: { model: 'gpt-realtime', voices: OPENAI_VOICES, transcriptionModel: 'whisper-1' },
  grok: { model: '', voices: ['Ara', 'Eve', 'Leo', 'Rex', 'Sal'], transcriptionModel: 'whisper-1' },
};

/** A provider without an entry speaks OpenAI's protocol, or with the gateway's own voice, which knows these names. */
const USUAL: Offer = { model: '', voices: OPENAI_VOICES, transcriptionModel: 'whisper-1' };

export function offerOf(provider: ProviderView): Offer {
  return OFFERS[provider.slug] ?? USUAL;
}

/** Those of a provider's models that hold conversations; all of them where no name tells. */
export function conversational(models: readonly string[]): readonly string[] {
  const named = models.filter(
    (model) => /realtime|voice/i.test(model) && !/transcribe|whisper|tts/i.test(model),
  );
  return named.length > 0 ? named : models;
}
