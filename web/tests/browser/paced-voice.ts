/** A realtime server in OpenAI's place that says what a test tells it to, at the pace the test wants. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { WebSocketServer, type WebSocket } from 'ws';

import { RATE } from './wav';

const PIECE_MS = 40;

/** 40 ms of a tone, whose level never falls. */
const TONE = tone(PIECE_MS);

export class PacedVoice {
  /** The types of what the client has said, sound left out. */
  readonly heard: string[] = [];
  #socket: WebSocket | null = null;
  #responses = 0;
  #turns = 0;

  private constructor(private readonly server: Server) {
    new WebSocketServer({ server }).on('connection', (socket) => this.#serve(socket));
  }

  static async start(): Promise<PacedVoice> {
    const server = createServer((_, answer) => {
      answer.setHeader('content-type', 'application/json');
      answer.end(JSON.stringify({ object: 'list', data: [{ id: 'local', object: 'model' }] }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new PacedVoice(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#socket?.terminate();
    this.server.close();
    this.server.closeAllConnections();
  }

  /** The user has begun to speak. */
  hearsSpeech(): void {
    this.#turns += 1;
    this.#send({
      type: 'input_audio_buffer.speech_started',
      audio_start_ms: 0,
      item_id: `user_${this.#turns}`,
    });
  }

  /** The user has said something and is silent. */
  understands(text: string): void {
    const item_id = `user_${this.#turns}`;
    this.#send({ type: 'input_audio_buffer.speech_stopped', audio_end_ms: 0, item_id });
    this.#send({ type: 'input_audio_buffer.committed', item_id, previous_item_id: null });
    const item = { id: item_id, type: 'message', role: 'user', status: 'completed', content: [] };
    this.#send({ type: 'conversation.item.added', item, previous_item_id: null });
    const transcription = 'conversation.item.input_audio_transcription';
    for (const word of text.split(' '))
      this.#send({ type: `${transcription}.delta`, item_id, content_index: 0, delta: `${word} ` });
    this.#send({ type: `${transcription}.completed`, item_id, content_index: 0, transcript: text });
  }

  /** Answer with a tone at real time, each piece up to `jitterMs` late. Resolves when all was sent, or it was cut. */
  async answers(seconds: number, jitterMs = 0, isCut: () => boolean = () => false): Promise<void> {
    const answer = this.#begin();
    const begunAt = performance.now();
    let state = 7;
    let dueAt = begunAt;
    for (let piece = 0; piece < (seconds * 1000) / PIECE_MS && !isCut(); piece += 1) {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      // In order, as on one connection.
      dueAt = Math.max(dueAt, begunAt + piece * PIECE_MS + (state / 2 ** 31) * jitterMs);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueAt - performance.now())));
      answer.piece(TONE, 'la ');
    }
    answer.end(isCut() ? 'cancelled' : 'completed');
  }

  /** Answer at once, with so many pieces. */
  answersAtOnce(pieces: number): void {
    const answer = this.#begin();
    for (let piece = 0; piece < pieces; piece += 1) answer.piece(TONE, 'and so on ');
    answer.end('completed');
  }

  #begin(): { piece(delta: string, text: string): void; end(status: string): void } {
    this.#responses += 1;
    const response_id = `resp_${this.#responses}`;
    const item_id = `said_${this.#responses}`;
    const item = { id: item_id, type: 'message', role: 'assistant', content: [] };
    const part = { response_id, item_id, output_index: 0, content_index: 0 };
    this.#send({ type: 'response.created', response: { id: response_id, status: 'in_progress' } });
    this.#send({ type: 'response.output_item.added', response_id, output_index: 0, item });
    let whole = '';
    return {
      piece: (delta, text) => {
        whole += text;
        this.#send({ type: 'response.output_audio.delta', ...part, delta });
        this.#send({ type: 'response.output_audio_transcript.delta', ...part, delta: text });
      },
      end: (status) => {
        this.#send({ type: 'response.output_audio.done', ...part });
        this.#send({ type: 'response.output_audio_transcript.done', ...part, transcript: whole });
        const done = { ...item, status: 'completed', content: [{ type: 'output_audio', transcript: whole }] };
        this.#send({ type: 'response.output_item.done', response_id, output_index: 0, item: done });
        this.#send({ type: 'response.done', response: { id: response_id, status, output: [done] } });
      },
    };
  }

  #serve(socket: WebSocket): void {
    this.#socket = socket;
    socket.on('message', (data: Buffer) => {
      const { type } = JSON.parse(data.toString()) as { type: string };
      if (type !== 'input_audio_buffer.append') this.heard.push(type);
      if (type !== 'session.update') return;
      const turn_detection = { type: 'server_vad', create_response: true, interrupt_response: true };
      this.#send({
        type: 'session.updated',
        session: { type: 'realtime', audio: { input: { turn_detection } } },
      });
    });
    this.#send({ type: 'session.created', session: { id: 'sess_1', type: 'realtime', model: 'local' } });
  }

  #send(event: object): void {
    this.#socket?.send(JSON.stringify(event));
  }
}

function tone(ms: number): string {
  const samples = Int16Array.from({ length: (ms * RATE) / 1000 }, (_, index) =>
    Math.round(12_000 * Math.sin((2 * Math.PI * 500 * index) / RATE)),
  );
  return Buffer.from(samples.buffer).toString('base64');
}
