/**
 * The text conversations of this page, one of which is shown. They outlive the view, and answers go on while another
 * conversation or page is looked at. The gateway keeps each, with every branch, from its first message on.
 */
import { untrack } from 'svelte';
import { SvelteMap } from 'svelte/reactivity';

import { announcer } from '../../app/announcer.svelte';
import { api, app } from '../../app/console.svelte';
import { saving } from '../../app/conversation-saving.svelte';
import { selection } from '../../app/selection.svelte';
import { dataPlanePath } from '../../core/api/addresses';
import { ChatLog } from '../../core/api/chat';
import { ApiFailure, type ProviderView } from '../../core/api/console';
import { ChatFailure, streamChat, type ChatMessage, type ChatRequest } from '../../core/chat';
import {
  DEFAULT_SETTINGS,
  gatewayHeaders,
  keptSettings,
  parametersOf,
  settingsFrom,
  type ChatSettings,
} from '../../core/chat-settings';
import {
  addUser,
  appendDelta,
  beginAnswer,
  continueAnswer,
  editUser,
  EMPTY_CONVERSATION,
  failAnswer,
  finishAnswer,
  historyBelow,
  historyFor,
  historyToContinue,
  laterBeginning,
  logAnswer,
  select,
  selectSibling,
  setDraft,
  visible,
  type Answer,
  type AnswerFailure,
  type AnswerLog,
  type Conversation,
} from '../../core/conversation';
import type { Snapshot } from '../../core/conversation-saver';
import { FirstSeen } from '../../core/first-seen';
import { newId } from '../../core/ids';
import { asString } from '../../core/narrow';
import type { Picture } from '../../core/pictures';
import { fromStored, toStored } from '../../core/stored-conversation';
import { fill, words } from '../../i18n/index.svelte';
import { AnswerClock } from './answer-clock';

/** All that is known of a conversation. */
interface Held {
  /** Under which the gateway keeps it. */
  readonly id: string;
  readonly kind: 'text' | 'voice';
  readonly conversation: Conversation;
  readonly settings: ChatSettings;
  /** Where what is sent begins, when not at the beginning: a message's id. */
  readonly from: string;
  /** What goes with the draft. */
  readonly pictures: readonly Picture[];
}

/** Whom to ask, and where. */
export interface Target {
  readonly provider: ProviderView;
  readonly endpoint: string;
  readonly model: string;
}

/** A request as it was sent for an answer, and to whom. */
export interface SentRequest {
  readonly provider: ProviderView;
  readonly request: ChatRequest;
}

/** An answer that is being written. */
interface Run {
  readonly conversation: string;
  readonly abort: AbortController;
  unshown: string;
}

/** Two answers to one question, side by side until one is chosen. */
export interface Pair {
  readonly first: string;
  readonly second: string;
}

/** The log has a row soon after an answer has ended. */
const LOG_WAITS_MS = [150, 600, 2000];
/** A page that took longer than this to show new text gets so many times as long to do the rest before the next. */
const LABOUR_MS = 8;
const REST = 8;

const log = new ChatLog(api);

class Chat {
  #shown = $state.raw<Held>(begun());
  /** The model that is asked beside the chosen one; null for none. */
  rival = $state.raw<{ readonly provider: string; readonly model: string } | null>(null);
  pair = $state.raw<Pair | null>(null);
  /** The question whose wording is being changed. */
  editing = $state<string | null>(null);
  /** The conversation that was left last for a new one, to be brought back. */
  cleared = $state<string | null>(null);
  /** When a rate limit ends, by answer, in `Date.now()` milliseconds. */
  readonly retryAt = new SvelteMap<string, number>();

  /** By answer. */
  readonly #runs = new SvelteMap<string, Run>();
  readonly thread = $derived(visible(this.conversation));
  /** Whether an answer of the conversation that is shown is under way. */
  readonly busy = $derived(this.#isUnderWay(this.id));

  /** Conversations that are not shown: those with answers under way, and the one to be brought back. */
  readonly #held = new Map<string, Held>();
  readonly #drafts = new Map<string, Pick<Held, 'pictures'> & { readonly text: string }>();
  readonly #firstSeen = new FirstSeen();
  readonly #sent = new Map<string, SentRequest>();
  #frame = 0;
  #restUntil = 0;

  constructor() {
    saving.onDeleted = (ids) => {
      if (ids.includes(this.id)) this.drop();
    };
    // Stored as it changes, whoever changes it. A page has one chat, so this is never stopped.
    $effect.root(() => {
      $effect(() => {
        const held = this.#shown;
        if (held.conversation.messages.size === 0) return;
        const soon = !this.busy;
        untrack(() => saving.saver.note(held.id, () => this.#snapshot(held), soon));
      });
    });
  }

  get id(): string {
    return this.#shown.id;
  }

  get conversation(): Conversation {
    return this.#shown.conversation;
  }

  get settings(): ChatSettings {
    return this.#shown.settings;
  }

  /** The message at which what is sent begins; empty for the first. */
  get from(): string {
    return this.#shown.from;
  }

  /** What goes with the draft. */
  get pictures(): readonly Picture[] {
    return this.#shown.pictures;
  }

  /** Whom the next question goes to; null where nobody is chosen. */
  get target(): Target | null {
    const { route } = this.settings;
    if (route !== '') return routeTarget(route);
    return targetOf(selection.chatProvider, selection.chatModel);
  }

  /** Whom it goes to as well, where two are compared. */
  get rivalTarget(): Target | null {
    return this.rival && targetOf(app.find(this.rival.provider), this.rival.model);
  }

  /** Whether a question could be sent now. */
  get ready(): boolean {
    return !this.busy && this.target !== null && (this.rival === null || this.rivalTarget !== null);
  }

  /** The request that the draft would be. */
  get preview(): ChatRequest | null {
    const target = this.target;
    if (!target) return null;
    const last = this.thread.at(-1)?.message.id ?? null;
    const { conversation, id } = this.conversation.draft
      ? addUser(this.conversation, this.conversation.draft, this.pictures)
      : { conversation: this.conversation, id: last };
    const messages = historyBelow(conversation, id, this.settings.systemPrompt, this.from);
    return this.#requestTo(target, messages, new AbortController().signal);
  }

  write(draft: string): void {
    this.#put({ conversation: setDraft(this.conversation, draft) });
  }

  set(change: Partial<ChatSettings>): void {
    this.#put({ settings: { ...this.settings, ...change } });
  }

  attach(pictures: readonly Picture[]): void {
    this.#put({ pictures });
  }

  /** Send all of the conversation again, after a part was left out. */
  sendAll(): void {
    this.#put({ from: '' });
  }

  ask(text: string): void {
    if (!this.ready || (text.trim() === '' && this.pictures.length === 0)) return;
    this.cleared = null;
    const { conversation, id } = addUser(this.conversation, text.trim(), this.pictures);
    this.#put({ conversation, pictures: [] });
    this.#answer(id);
  }

  askAnew(questionId: string, text: string): void {
    if (!this.ready || text.trim() === '') return;
    this.editing = null;
    const { conversation, id } = editUser(this.conversation, questionId, text.trim());
    this.#put({ conversation });
    this.#answer(id);
  }

  regenerate(answer: Answer): void {
    if (this.ready) this.#answer(answer.parent);
  }

  /** Ask again for an answer that failed, in its place where it has no text worth keeping. */
  retry(answer: Answer): void {
    const target = this.#targetOf(answer);
    if (answer.text !== '' || answer.model !== target?.model) this.regenerate(answer);
    else
      this.#resume(
        answer,
        target,
        historyFor(this.conversation, answer.id, this.settings.systemPrompt, this.from),
      );
  }

  /** Have an answer that ended too early go on. */
  continue(answer: Answer): void {
    const { systemPrompt } = this.settings;
    const request = words.t.chat.continueRequest;
    const messages = historyToContinue(this.conversation, answer.id, request, systemPrompt, this.from);
    this.#resume(answer, this.#targetOf(answer), messages);
  }

  /** Whether older turns could be left out. */
  canShorten(answer: Answer): boolean {
    return laterBeginning(this.conversation, answer.id, this.from) !== null;
  }

  /** Leave out the older half of what was too long for the model, from now on, and ask again. */
  shorten(answer: Answer): void {
    const from = laterBeginning(this.conversation, answer.id, this.from);
    if (!this.ready || from === null) return;
    this.#put({ from });
    this.retry(answer);
  }

  /** Stop an answer, or all of this conversation. */
  stop(answer?: string): void {
    for (const [id, run] of this.#runs) {
      if (answer === undefined ? run.conversation === this.id : id === answer) run.abort.abort();
    }
  }

  show(messageId: string, step: number): void {
    this.#put({ conversation: selectSibling(this.conversation, messageId, step) });
  }

  /** Compare with another model from the next question on, or no more. */
  compare(rival: Chat['rival']): void {
    this.rival = rival;
  }

  /** Go on with one of two answers and its model; the other stays as its sibling. */
  async choose(answer: Answer): Promise<void> {
    const rival = answer.id === this.pair?.second ? this.rival : null;
    this.pair = this.rival = null;
    this.#put({ conversation: select(this.conversation, answer.id) });
    if (!rival) return;
    this.set({ route: '' });
    if (rival.provider !== selection.chatProvider?.slug) await selection.chooseProvider(rival.provider);
    await selection.chooseChatModel(rival.model);
  }

  editLast(): void {
    const last = this.thread.findLast(({ message }) => message.role === 'user');
    if (last && !this.busy) this.editing = last.message.id;
  }

  /** Begin a new conversation, with the same settings; the one that was shown can be brought back. */
  clear(): void {
    if (this.thread.length === 0) return;
    const { id, settings } = this;
    this.#held.set(id, this.#shown);
    this.#take({ ...begun(), settings });
    this.cleared = id;
  }

  /** Show a conversation that is kept. Throws `ApiFailure`. */
  async open(id: string): Promise<void> {
    const held = this.#held.get(id);
    if (id === this.id) return;
    if (held && (id === this.cleared || this.#isUnderWay(id))) {
      this.#take(held);
      return;
    }
    const stored = await api.conversation(id);
    for (const { id: message, created_at } of stored.messages) this.#firstSeen.set(message, created_at);
    const kept: Held = {
      ...begun(id),
      kind: stored.kind,
      conversation: fromStored(stored),
      settings: settingsFrom(stored.settings),
      from: asString((stored.settings as Readonly<Record<string, unknown>>)['from']) ?? '',
    };
    this.#take(kept);
    saving.saver.loaded(id, this.#snapshot(kept));
  }

  /** Begin a new conversation with what the log keeps of an exchange; false where that is no chat. Throws `ApiFailure`. */
  async replay(logId: string): Promise<boolean> {
    const { row, bodies } = await log.exchange(logId);
    const { replayOf } = await import('../../core/replay');
    const replay = replayOf(bodies);
    if (!replay) return false;
    this.#take({ ...begun(), conversation: replay.conversation, settings: replay.settings });
    const provider = selection.chatProviders.find(({ slug }) => slug === row.provider);
    if (!provider || provider.slug === 'local') return true;
    if (provider.slug !== selection.chatProvider?.slug) await selection.chooseProvider(provider.slug);
    await selection.chooseChatModel(row.model);
    return true;
  }

  /** The conversation was deleted: nothing of it stays in the page. */
  drop(): void {
    this.stop();
    this.#drafts.delete(this.id);
    this.#shown = begun();
    this.pair = this.editing = this.cleared = null;
  }

  /** What was sent for an answer of this page. */
  sentFor(answerId: string): SentRequest | undefined {
    return this.#sent.get(answerId);
  }

  #put(change: Partial<Held>): void {
    this.#shown = { ...this.#shown, ...change };
  }

  /** Show another conversation, with its own draft. */
  #take(next: Held): void {
    const { id, conversation, pictures } = this.#shown;
    if (this.#isUnderWay(id)) this.#held.set(id, this.#shown);
    if (conversation.draft || pictures.length > 0)
      this.#drafts.set(id, { text: conversation.draft, pictures });
    else this.#drafts.delete(id);
    const draft = this.#drafts.get(next.id);
    this.#held.delete(next.id);
    if (this.cleared !== null) this.#forget(this.cleared);
    this.pair = this.editing = this.cleared = null;
    this.#shown = draft
      ? { ...next, conversation: setDraft(next.conversation, draft.text), pictures: draft.pictures }
      : next;
  }

  #isUnderWay(id: string): boolean {
    return [...this.#runs.values()].some(({ conversation }) => conversation === id);
  }

  #forget(id: string): void {
    if (!this.#isUnderWay(id)) this.#held.delete(id);
  }

  #snapshot({ kind, conversation, settings, from }: Held): Snapshot {
    const thread = visible(conversation);
    const answer = thread.findLast(({ message }) => message.role === 'assistant')?.message;
    const said = answer?.role === 'assistant' ? answer : undefined;
    return {
      kind,
      settings: { ...keptSettings(settings), ...(from === '' ? {} : { from }) },
      model: said?.model ?? '',
      provider: said?.provider ?? '',
      head: thread.at(-1)?.message.id ?? '',
      messages: [...conversation.messages.values()].map((message) =>
        toStored(message, this.#firstSeen.at(message.id)),
      ),
    };
  }

  /** Whom to ask again for an answer. */
  #targetOf(answer: Answer): Target | null {
    return answer.id === this.pair?.second ? this.rivalTarget : this.target;
  }

  /** Answer a message: by one model, or by two side by side. */
  #answer(parent: string | null): void {
    const { target, rivalTarget } = this;
    if (!target) return;
    const first = this.#begin(target, parent);
    const second = rivalTarget && this.#begin(rivalTarget, parent);
    this.pair = second ? { first, second } : null;
    this.#put({ conversation: select(this.conversation, first) });
    announcer.say(words.t.chat.writing);
    for (const [id, asked] of [
      [first, target],
      [second, rivalTarget],
    ] as const) {
      if (!id || !asked) continue;
      const messages = historyFor(this.conversation, id, this.settings.systemPrompt, this.from);
      void this.#run(id, asked, messages);
    }
  }

  #begin({ model, provider }: Target, parent: string | null): string {
    const { conversation, id } = beginAnswer(this.conversation, parent, model, provider.slug);
    this.#put({ conversation });
    return id;
  }

  #resume(answer: Answer, target: Target | null, messages: ChatMessage[]): void {
    if (this.busy || !target) return;
    this.#put({ conversation: continueAnswer(this.conversation, answer.id) });
    announcer.say(words.t.chat.writing);
    void this.#run(answer.id, target, messages);
  }

  async #run(id: string, target: Target, messages: ChatMessage[]): Promise<void> {
    const run: Run = { conversation: this.id, abort: new AbortController(), unshown: '' };
    const request = this.#requestTo(target, messages, run.abort.signal);
    this.#sent.set(id, { provider: target.provider, request });
    this.retryAt.delete(id);
    this.#runs.set(id, run);
    const clock = new AnswerClock();
    const told = { id: '', cache: '', cost: null };
    try {
      const reason = await this.#read(run, request, clock, told);
      this.#showText(id, run);
      this.#change(run, (conversation) => finishAnswer(conversation, id, reason, clock.read()));
    } catch (error) {
      if (!(error instanceof ChatFailure)) throw error;
      this.#showText(id, run);
      this.#fail(id, run, error, clock);
    } finally {
      this.#runs.delete(id);
    }
    if (told.id !== '') {
      this.#change(run, (conversation) => logAnswer(conversation, id, told));
      void this.#learnCost(id, run, told);
    }
    this.#announce(id, run);
    if (run.conversation !== this.id && run.conversation !== this.cleared) this.#forget(run.conversation);
  }

  #requestTo({ endpoint, model }: Target, messages: ChatMessage[], signal: AbortSignal): ChatRequest {
    const { settings } = this;
    const headers = gatewayHeaders(settings.wishes);
    return { endpoint, model, messages, parameters: parametersOf(settings), headers, signal };
  }

  /** Take in the answer; return why the model ended it. What the gateway says of it goes into `told`. */
  async #read(
    run: Run,
    request: ChatRequest,
    clock: AnswerClock,
    told: { id: string; cache: string },
  ): Promise<string | null> {
    let reason: string | null = null;
    for await (const event of streamChat(request)) {
      switch (event.kind) {
        case 'head':
          told.id = event.responseHeaders.get('cf-aig-log-id') ?? '';
          told.cache = event.responseHeaders.get('cf-aig-cache-status') ?? '';
          break;
        case 'delta':
          clock.sawText();
          run.unshown += event.text;
          this.#frame ||= requestAnimationFrame((now) => this.#showTexts(now));
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

  #fail(id: string, run: Run, error: ChatFailure, clock: AnswerClock): void {
    const { kind, message, status, code, retryAfterSeconds } = error;
    const failure: AnswerFailure = {
      kind,
      message,
      status,
      code,
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    };
    if (retryAfterSeconds !== undefined) this.retryAt.set(id, Date.now() + retryAfterSeconds * 1000);
    this.#change(run, (conversation) => failAnswer(conversation, id, failure, clock.read()));
  }

  /** The log knows what an answer cost, a moment after it has ended; where it may not be read, nobody is told. */
  async #learnCost(id: string, run: Run, told: AnswerLog): Promise<void> {
    for (const wait of LOG_WAITS_MS) {
      await new Promise((resolve) => setTimeout(resolve, wait));
      try {
        const row = await log.recent(app.gateway, told.id);
        if (!row) continue;
        this.#change(run, (conversation) => logAnswer(conversation, id, { ...told, cost: row.cost }));
      } catch (error) {
        if (!(error instanceof ApiFailure)) throw error;
      }
      return;
    }
  }

  /** Show with the next frame what has come since the last: more often nobody could see. */
  #showTexts(now: number): void {
    this.#frame = 0;
    if (now < this.#restUntil) {
      this.#frame = requestAnimationFrame((later) => this.#showTexts(later));
      return;
    }
    const began = performance.now();
    for (const [id, run] of this.#runs) this.#showText(id, run);
    // What is set here runs when the frame has been painted.
    setTimeout(() => {
      const labour = performance.now() - began;
      if (labour > LABOUR_MS) this.#restUntil = performance.now() + REST * labour;
    });
  }

  #showText(id: string, run: Run): void {
    const text = run.unshown;
    run.unshown = '';
    if (text) this.#change(run, (conversation) => appendDelta(conversation, id, text));
  }

  /** Change the conversation of a run, shown or not. */
  #change(run: Run, change: (conversation: Conversation) => Conversation): void {
    const held = run.conversation === this.id ? this.#shown : this.#held.get(run.conversation);
    if (!held) return; // deleted meanwhile
    const changed = { ...held, conversation: change(held.conversation) };
    if (held === this.#shown) {
      this.#shown = changed;
      return;
    }
    this.#held.set(held.id, changed);
    saving.saver.note(held.id, () => this.#snapshot(changed), !this.#isUnderWay(held.id));
  }

  #announce(id: string, run: Run): void {
    const answer = run.conversation === this.id ? this.conversation.messages.get(id) : undefined;
    // Of two side by side, the last to end is told with both done.
    if (answer?.role !== 'assistant' || this.busy) return;
    announcer.say(
      answer.failure ? answer.failure.message : fill(words.t.chat.answered, { text: answer.text }),
    );
  }
}

function begun(id = newId()): Held {
  return {
    id,
    kind: 'text',
    conversation: EMPTY_CONVERSATION,
    settings: DEFAULT_SETTINGS,
    from: '',
    pictures: [],
  };
}

function targetOf(provider: ProviderView | undefined, chosen: string): Target | null {
  // The embedded provider has one model.
  const model = provider?.slug === 'local' ? chosen || 'local' : chosen;
  if (!provider || model === '' || app.keyNeed(provider) === 'missing') return null;
  const endpoint = app.chatPath(provider);
  return endpoint === null ? null : { provider, endpoint, model };
}

/** A dynamic route is asked by way of the unified API, and brings the keys that it needs. */
function routeTarget(route: string): Target {
  const slug = 'compat';
  const provider: ProviderView = {
    slug,
    name: route,
    chat_path: 'chat/completions',
    models_path: null,
    realtime: false,
    needs_key: false,
    key: { set: false, tail: null, source: null },
  };
  const endpoint = dataPlanePath(
    { account: app.account, gateway: app.gateway, provider: slug },
    'chat/completions',
  );
  return { provider, endpoint, model: `dynamic/${route}` };
}

export const chat = new Chat();
