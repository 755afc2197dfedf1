/**
 * The text conversation of this page. It outlives the view: an answer goes on while another page is looked at. The
 * gateway keeps it, with every branch, from its first message on.
 */
import { untrack } from 'svelte';
import { SvelteMap } from 'svelte/reactivity';

import { announcer } from '../../app/announcer.svelte';
import { api, app } from '../../app/console.svelte';
import { saving } from '../../app/conversation-saving.svelte';
import { selection } from '../../app/selection.svelte';
import type { ProviderView } from '../../core/api/console';
import { ChatFailure, streamChat, type ChatMessage, type ChatRequest } from '../../core/chat';
import {
  addUser,
  appendDelta,
  beginAnswer,
  continueAnswer,
  editUser,
  EMPTY_CONVERSATION,
  failAnswer,
  finishAnswer,
  historyFor,
  historyToContinue,
  selectSibling,
  setDraft,
  visible,
  type Answer,
  type AnswerFailure,
  type Conversation,
} from '../../core/conversation';
import type { Snapshot } from '../../core/conversation-saver';
import { FirstSeen } from '../../core/first-seen';
import { newId } from '../../core/ids';
import { asNumber, asString, type JsonObject } from '../../core/narrow';
import { fromStored, toStored, type StoredConversation } from '../../core/stored-conversation';
import { fill, words } from '../../i18n/index.svelte';
import { AnswerClock } from './answer-clock';

/** A conversation and the id under which the gateway keeps it. */
interface Cleared {
  readonly id: string;
  readonly kind: 'text' | 'voice';
  readonly conversation: Conversation;
}

/** A request as it was sent for an answer, and to whom. */
export interface SentRequest {
  readonly provider: ProviderView;
  readonly request: ChatRequest;
}

class Chat {
  conversation = $state.raw<Conversation>(EMPTY_CONVERSATION);
  /** Under which the gateway keeps it. */
  id = $state(newId());
  systemPrompt = $state('');
  temperature = $state<number | null>(null);
  maxTokens = $state<number | null>(null);
  /** The question whose wording is being changed. */
  editing = $state<string | null>(null);
  /** Whether an answer is under way; there is one at a time. */
  busy = $state(false);
  /** The conversation that was cleared last, to be brought back. */
  cleared = $state.raw<Cleared | null>(null);
  /** When a rate limit ends, by answer, in `Date.now()` milliseconds. */
  readonly retryAt = new SvelteMap<string, number>();

  thread = $derived(visible(this.conversation));

  #kind: 'text' | 'voice' = 'text';
  #provider = '';
  readonly #firstSeen = new FirstSeen();
  readonly #sent = new Map<string, SentRequest>();
  #abort = new AbortController();
  #unshown = '';
  #frame = 0;

  constructor() {
    saving.onDeleted = (ids) => {
      if (ids.includes(this.id)) this.drop();
    };
    // Stored as it changes, whoever changes it. A page has one chat, so this is never stopped.
    $effect.root(() => {
      $effect(() => {
        if (this.conversation.messages.size === 0) return;
        const { id, conversation, settings, busy } = this;
        const kind = this.#kind;
        untrack(() => {
          saving.saver.note(id, () => this.#snapshot(kind, conversation, settings), !busy);
        });
      });
    });
  }

  /** What belongs to the conversation beside its messages. No key is among it. */
  get settings(): Readonly<Record<string, unknown>> {
    return {
      ...(this.systemPrompt === '' ? {} : { system_prompt: this.systemPrompt }),
      ...(this.temperature === null ? {} : { temperature: this.temperature }),
      ...(this.maxTokens === null ? {} : { max_tokens: this.maxTokens }),
    };
  }

  /** Whether a question could be sent now. */
  get ready(): boolean {
    const provider = selection.chatProvider;
    return !this.busy && !!provider && app.keyNeed(provider) !== 'missing' && selection.chatModel !== '';
  }

  write(draft: string): void {
    this.conversation = setDraft(this.conversation, draft);
  }

  ask(text: string): Promise<void> {
    if (!this.ready || text.trim() === '') return Promise.resolve();
    this.cleared = null;
    const { conversation, id } = addUser(this.conversation, text.trim());
    return this.#answer(conversation, id);
  }

  askAnew(questionId: string, text: string): Promise<void> {
    if (!this.ready || text.trim() === '') return Promise.resolve();
    this.editing = null;
    const { conversation, id } = editUser(this.conversation, questionId, text.trim());
    return this.#answer(conversation, id);
  }

  regenerate(answer: Answer): Promise<void> {
    if (!this.ready) return Promise.resolve();
    return this.#answer(this.conversation, answer.parent);
  }

  /** Ask again for an answer that failed, in its place where it has no text worth keeping. */
  retry(answer: Answer): Promise<void> {
    if (answer.text !== '' || answer.model !== selection.chatModel) return this.regenerate(answer);
    if (!this.ready) return Promise.resolve();
    return this.#resume(answer, historyFor(this.conversation, answer.id, this.systemPrompt));
  }

  /** Have an answer that ended too early go on. */
  continue(answer: Answer): Promise<void> {
    if (!this.ready) return Promise.resolve();
    const request = words.t.chat.continueRequest;
    return this.#resume(answer, historyToContinue(this.conversation, answer.id, request, this.systemPrompt));
  }

  stop(): void {
    this.#abort.abort();
  }

  show(messageId: string, step: number): void {
    this.conversation = selectSibling(this.conversation, messageId, step);
  }

  editLast(): void {
    const last = this.thread.findLast(({ message }) => message.role === 'user');
    if (last && !this.busy) this.editing = last.message.id;
  }

  /** Begin a new conversation; the draft stays. */
  clear(): void {
    if (this.thread.length === 0) return;
    this.stop();
    this.cleared = { id: this.id, kind: this.#kind, conversation: this.conversation };
    this.#take(newId(), 'text', EMPTY_CONVERSATION);
  }

  bringBack(): void {
    if (!this.cleared) return;
    this.#take(this.cleared.id, this.cleared.kind, this.cleared.conversation);
    this.cleared = null;
  }

  /** Show a conversation that is kept. Throws `ApiFailure`. */
  async open(id: string): Promise<void> {
    if (id === this.id) return;
    const stored = await api.conversation(id);
    this.stop();
    this.cleared = null;
    const conversation = fromStored(stored);
    for (const { id: message, created_at } of stored.messages) this.#firstSeen.set(message, created_at);
    this.#provider = stored.provider;
    this.#useSettings(stored);
    this.#take(id, stored.kind, conversation);
    saving.saver.loaded(id, this.#snapshot(stored.kind, conversation, this.settings));
  }

  /** The conversation was deleted: nothing of it stays in the page. */
  drop(): void {
    this.stop();
    this.cleared = null;
    this.#take(newId(), 'text', EMPTY_CONVERSATION);
  }

  /** What was sent for an answer of this page. */
  sentFor(answerId: string): SentRequest | undefined {
    return this.#sent.get(answerId);
  }

  #take(id: string, kind: 'text' | 'voice', conversation: Conversation): void {
    this.editing = null;
    this.id = id;
    this.#kind = kind;
    this.conversation = setDraft(conversation, this.conversation.draft);
  }

  #useSettings({ settings }: StoredConversation): void {
    const kept: JsonObject = settings;
    this.systemPrompt = asString(kept['system_prompt']) ?? '';
    this.temperature = asNumber(kept['temperature']) ?? null;
    this.maxTokens = asNumber(kept['max_tokens']) ?? null;
  }

  #snapshot(
    kind: 'text' | 'voice',
    conversation: Conversation,
    settings: Readonly<Record<string, unknown>>,
  ): Snapshot {
    const thread = visible(conversation);
    const answer = thread.findLast(({ message }) => message.role === 'assistant')?.message;
    return {
      kind,
      settings,
      model: answer?.role === 'assistant' ? answer.model : '',
      provider: this.#provider,
      head: thread.at(-1)?.message.id ?? '',
      messages: [...conversation.messages.values()].map((message) =>
        toStored(message, this.#firstSeen.at(message.id)),
      ),
    };
  }

  #answer(asked: Conversation, parent: string | null): Promise<void> {
    const { conversation, id } = beginAnswer(asked, parent, selection.chatModel);
    this.conversation = conversation;
    return this.#run(id, historyFor(conversation, id, this.systemPrompt));
  }

  #resume(answer: Answer, messages: ChatMessage[]): Promise<void> {
    this.conversation = continueAnswer(this.conversation, answer.id);
    return this.#run(answer.id, messages);
  }

  async #run(id: string, messages: ChatMessage[]): Promise<void> {
    const provider = selection.chatProvider;
    const endpoint = provider && app.chatPath(provider);
    if (!provider || !endpoint) return;
    this.#abort = new AbortController();
    const request = this.#requestTo(endpoint, messages, this.#abort.signal);
    this.#sent.set(id, { provider, request });
    this.#provider = provider.slug;
    this.retryAt.delete(id);
    this.busy = true;
    announcer.say(words.t.chat.writing);
    const clock = new AnswerClock();
    try {
      const reason = await this.#read(id, request, clock);
      this.#showText(id);
      this.#change(id, (conversation) => finishAnswer(conversation, id, reason, clock.read()));
    } catch (error) {
      if (!(error instanceof ChatFailure)) throw error;
      this.#showText(id);
      this.#fail(id, error, clock);
    } finally {
      this.busy = false;
    }
    this.#announce(id);
  }

  #requestTo(endpoint: string, messages: ChatMessage[], signal: AbortSignal): ChatRequest {
    const parameters = {
      ...(this.temperature === null ? {} : { temperature: this.temperature }),
      ...(this.maxTokens === null ? {} : { maxTokens: this.maxTokens }),
    };
    return { endpoint, model: selection.chatModel, messages, parameters, signal };
  }

  /** Take in the answer; return why the model ended it. */
  async #read(id: string, request: ChatRequest, clock: AnswerClock): Promise<string | null> {
    let reason: string | null = null;
    for await (const event of streamChat(request)) {
      switch (event.kind) {
        case 'head':
          break;
        case 'delta':
          clock.sawText();
          this.#show(id, event.text);
          break;
        case 'usage':
          clock.sawUsage(event.input, event.output);
          break;
        case 'finish':
          reason = event.reason;
          break;
      }
    }
    return reason;
  }

  #fail(id: string, error: ChatFailure, clock: AnswerClock): void {
    const { kind, message, status, code, retryAfterSeconds } = error;
    const failure: AnswerFailure = {
      kind,
      message,
      status,
      code,
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    };
    if (retryAfterSeconds !== undefined) this.retryAt.set(id, Date.now() + retryAfterSeconds * 1000);
    this.#change(id, (conversation) => failAnswer(conversation, id, failure, clock.read()));
  }

  /** Gather text and show it with the next frame: more often nobody could see. */
  #show(id: string, text: string): void {
    this.#unshown += text;
    this.#frame ||= requestAnimationFrame(() => this.#showText(id));
  }

  #showText(id: string): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const text = this.#unshown;
    this.#unshown = '';
    if (text) this.#change(id, (conversation) => appendDelta(conversation, id, text));
  }

  /** A conversation that was cleared meanwhile takes its answer with it. */
  #change(id: string, change: (conversation: Conversation) => Conversation): void {
    if (this.conversation.messages.has(id)) this.conversation = change(this.conversation);
    else if (this.cleared?.conversation.messages.has(id)) {
      const cleared = { ...this.cleared, conversation: change(this.cleared.conversation) };
      this.cleared = cleared;
      const { settings } = this;
      saving.saver.note(cleared.id, () => this.#snapshot(cleared.kind, cleared.conversation, settings), true);
    }
  }

  #announce(id: string): void {
    const answer = this.conversation.messages.get(id);
    if (answer?.role !== 'assistant') return;
    announcer.say(
      answer.failure ? answer.failure.message : fill(words.t.chat.answered, { text: answer.text }),
    );
  }
}

export const chat = new Chat();
