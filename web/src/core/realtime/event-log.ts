/** The session's events for the eye: a ring, deltas in one line, and never any audio or secret in it. */

import { asList, asNumber, asObject, asString, type JsonObject } from '../narrow';

const CAPACITY = 2000;
/** How far back a line of deltas may lie to be continued: several kinds of them arrive in turns. */
const REACH = 6;

export type EventDirection = 'in' | 'out' | 'local';

export interface LogEntry {
  readonly id: number;
  /** Milliseconds since the log began. */
  readonly atMs: number;
  readonly direction: EventDirection;
  readonly type: string;
  /** How many events this line stands for. */
  readonly count: number;
  /** Characters of base64 audio that passed, in all of them. */
  readonly audioCharacters: number;
  /** The event, or the last one with the text of all; audio is replaced by its length. */
  readonly event: JsonObject;
}

export interface LogFilter {
  readonly type?: string;
  /** Event types that contain this. */
  readonly family?: string;
  readonly direction?: EventDirection;
  /** Events whose JSON contains this, in any letter case. */
  readonly text?: string;
}

export interface EventLogView {
  /** Those that pass the filter, oldest first. */
  readonly entries: readonly LogEntry[];
  readonly recorded: number;
  /** The types there are, in the order of the alphabet. */
  readonly types: readonly string[];
  /** Lines that the ring has lost. */
  readonly lost: number;
  readonly paused: boolean;
  readonly filter: LogFilter;
}

export class EventLog {
  #entries: LogEntry[] = [];
  #shown: LogEntry[] = [];
  #filter: LogFilter = {};
  readonly #types = new Set<string>();
  #paused = false;
  #lastId = 0;
  #lost = 0;
  #view: EventLogView | null = null;

  constructor(private startedAt: number) {}

  /** `event` is what was parsed of a frame, or is about to be sent. */
  add(direction: EventDirection, event: unknown, at: number): void {
    const object = asObject(event) ?? { type: '(not an event)' };
    const type = asString(object['type']) ?? '(no type)';
    const audioCharacters = audioIn(object, type);
    const cleaned = asObject(clean(object, type)) ?? {};
    const open = isFlowing(type) ? this.#openLine(direction, type, object) : undefined;
    if (open) {
      this.#replace(open, {
        ...open,
        count: open.count + 1,
        audioCharacters: open.audioCharacters + audioCharacters,
        event: joined(open.event, cleaned),
      });
    } else {
      this.#lastId += 1;
      const atMs = at - this.startedAt;
      this.#append({ id: this.#lastId, atMs, direction, type, count: 1, audioCharacters, event: cleaned });
    }
    if (!this.#paused) this.#view = null;
  }

  setFilter(filter: LogFilter): void {
    this.#filter = filter;
    this.#sift();
    this.#view = null;
  }

  /** While paused the view stands still; recording goes on. */
  setPaused(paused: boolean): void {
    this.#view = { ...this.view, paused };
    this.#paused = paused;
    if (!paused) this.#view = null;
  }

  clear(at: number): void {
    this.#entries = [];
    this.#shown = [];
    this.#lost = 0;
    this.#types.clear();
    this.startedAt = at;
    this.#view = null;
  }

  get view(): EventLogView {
    this.#view ??= {
      entries: [...this.#shown],
      recorded: this.#entries.length,
      types: [...this.#types].sort(),
      lost: this.#lost,
      paused: this.#paused,
      filter: this.#filter,
    };
    return this.#view;
  }

  /** Everything recorded, one JSON object a line. */
  exportJsonl(): string {
    return this.#entries
      .map(({ atMs, direction, count, audioCharacters, event }) => {
        const audio = audioCharacters > 0 ? { audio_base64_characters: audioCharacters } : {};
        return `${JSON.stringify({ at_ms: Math.round(atMs * 10) / 10, direction, count, ...audio, event })}\n`;
      })
      .join('');
  }

  #openLine(direction: EventDirection, type: string, event: JsonObject): LogEntry | undefined {
    for (let back = 1; back <= REACH; back += 1) {
      const entry = this.#entries.at(-back);
      if (!entry || !isFlowing(entry.type)) return undefined;
      const sameItem = entry.event['item_id'] === event['item_id'];
      if (entry.direction === direction && entry.type === type && sameItem) return entry;
    }
    return undefined;
  }

  #append(entry: LogEntry): void {
    this.#entries.push(entry);
    this.#types.add(entry.type);
    if (passes(entry, this.#filter)) this.#shown.push(entry);
    if (this.#entries.length <= CAPACITY) return;
    const dropped = this.#entries.shift();
    if (this.#shown[0] === dropped) this.#shown.shift();
    this.#lost += 1;
  }

  #replace(old: LogEntry, entry: LogEntry): void {
    this.#entries[this.#entries.lastIndexOf(old)] = entry;
    const wasShown = this.#shown.lastIndexOf(old);
    if (wasShown !== -1) this.#shown[wasShown] = entry;
    else if (passes(entry, this.#filter)) this.#sift();
  }

  #sift(): void {
    this.#shown = this.#entries.filter((entry) => passes(entry, this.#filter));
  }
}

function passes(entry: LogEntry, filter: LogFilter): boolean {
  if (filter.direction && entry.direction !== filter.direction) return false;
  if (filter.type && entry.type !== filter.type) return false;
  if (filter.family && !entry.type.includes(filter.family)) return false;
  if (!filter.text) return true;
  return JSON.stringify(entry.event).toLowerCase().includes(filter.text.toLowerCase());
}

/** Events that come many times a second. */
function isFlowing(type: string): boolean {
  return type.endsWith('.delta') || type === 'input_audio_buffer.append' || type === 'playback.underrun';
}

function isAudioDelta(type: string): boolean {
  return type === 'response.output_audio.delta' || type === 'response.audio.delta';
}

/** The text of several deltas becomes the delta of their line. */
function joined(earlier: JsonObject, later: JsonObject): JsonObject {
  const text = asString(earlier['delta']);
  const more = asString(later['delta']);
  return text === undefined || more === undefined ? later : { ...later, delta: text + more };
}

function audioIn(event: JsonObject, type: string): number {
  if (isAudioDelta(type)) return asString(event['delta'])?.length ?? 0;
  return asString(event['audio'])?.length ?? 0;
}

/** A copy without audio, without other bulk such as images, and without secrets. */
function clean(value: unknown, type: string): unknown {
  const list = asList(value);
  if (list) return list.map((entry) => clean(entry, type));
  const object = asObject(value);
  if (!object) return shortened(value);
  return Object.fromEntries(
    Object.entries(object).map(([name, entry]) => [name, cleanField(name, entry, type)]),
  );
}

function cleanField(name: string, value: unknown, type: string): unknown {
  if (name === 'client_secret') return 'redacted';
  const text = asString(value);
  const isAudio = name === 'audio' || (name === 'delta' && isAudioDelta(type));
  if (text !== undefined && isAudio) return { base64_characters: text.length };
  return clean(value, type);
}

const LONGEST_TEXT = 4000;

function shortened(value: unknown): unknown {
  const text = asString(value);
  if (text === undefined) return asNumber(value) ?? value;
  return text.length <= LONGEST_TEXT ? text : `${text.slice(0, LONGEST_TEXT)}… (${text.length} characters)`;
}
