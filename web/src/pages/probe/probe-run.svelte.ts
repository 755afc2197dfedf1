/** The run of the auth matrix. It outlives the view: results stay while another page is looked at. */
import { SvelteMap } from 'svelte/reactivity';

import { announcer } from '../../app/announcer.svelte';
import { api, app } from '../../app/console.svelte';
import {
  ApiFailure,
  type ProbeCell,
  type ProbePlan,
  type ProbeReport,
  type ProbeRequest,
  type ProviderView,
} from '../../core/api/console';
import {
  BROWSER_ROWS,
  probeFromBrowser,
  waysOf,
  type BrowserCell,
  type BrowserProbe,
  type BrowserWay,
} from '../../core/probe/browser';
import { offerOf } from '../voice/offers';
import { own } from './words';

export type Failure = 'refused' | 'unreachable' | 'invalid' | 'failed';

export type Phase =
  | { readonly kind: 'idle' | 'running' | 'done' | 'cancelled' | 'broken' }
  | { readonly kind: 'failed'; readonly failure: Failure; readonly message: string };

/** What this page asks by itself, or why it asks nothing. */
export type BrowserPart =
  | { readonly kind: 'asked'; readonly ways: readonly BrowserWay[] }
  | { readonly kind: 'elsewhere' }
  | { readonly kind: 'no-secret'; readonly provider: string }
  | { readonly kind: 'refused'; readonly message: string };

/** The server ended its lines with the words for why it could not go on. */
class RunFailed extends Error {}

/** Named where nobody chose one: whether it is there changes no verdict. */
const ANY_MODEL = 'default';

class ProbeRun {
  phase = $state.raw<Phase>({ kind: 'idle' });
  plan = $state.raw<ProbePlan | null>(null);
  report = $state.raw<ProbeReport | null>(null);
  browser = $state.raw<BrowserPart | null>(null);

  running = $derived(this.phase.kind === 'running');

  readonly #cells = new SvelteMap<string, ProbeCell>();
  readonly #browserCells = new SvelteMap<string, BrowserCell>();
  #abort = new AbortController();

  cell(row: string, way: string): ProbeCell | undefined {
    return this.#cells.get(placeOf(row, way));
  }

  browserCell(row: string, way: string): BrowserCell | undefined {
    return this.#browserCells.get(placeOf(row, way));
  }

  get done(): number {
    return this.#cells.size + this.#browserCells.size;
  }

  /** null until it is known. */
  get total(): number | null {
    const own = this.browser?.kind === 'asked' ? this.browser.ways.length * BROWSER_ROWS.length : 0;
    return this.plan && this.plan.cells + own;
  }

  /** Never rejects: see `phase`. */
  async start(request: ProbeRequest, provider: ProviderView): Promise<void> {
    if (this.running) return;
    this.#begin(partOf(request, provider));
    const { signal } = this.#abort;
    try {
      await this.#askServer(request, signal);
      if (this.browser?.kind === 'asked') await this.#askHere(request, provider, signal);
      this.phase = { kind: 'done' };
    } catch (error) {
      this.phase = signal.aborted ? { kind: 'cancelled' } : phaseOf(error);
    }
    announcer.say(this.#lastWords());
  }

  cancel(): void {
    this.#abort.abort();
  }

  #begin(browser: BrowserPart): void {
    this.#abort = new AbortController();
    this.#cells.clear();
    this.#browserCells.clear();
    this.plan = null;
    this.report = null;
    this.browser = browser;
    this.phase = { kind: 'running' };
    announcer.say(own.t.states.running);
  }

  async #askServer(request: ProbeRequest, signal: AbortSignal): Promise<void> {
    for await (const line of api.probe(request, signal)) {
      switch (line.type) {
        case 'plan':
          this.plan = line;
          break;
        case 'cell':
          this.#cells.set(placeOf(line.row, line.way), line);
          break;
        case 'report':
          this.report = line;
          break;
        case 'failed':
          throw new RunFailed(line.message);
      }
    }
    if (!this.report) throw new TypeError('The lines have no end.');
  }

  async #askHere(request: ProbeRequest, provider: ProviderView, signal: AbortSignal): Promise<void> {
    const probe: BrowserProbe = {
      address: app.address(provider),
      modelsPath: provider.models_path,
      chatPath: provider.chat_path,
      model: request.model || ANY_MODEL,
      realtimeModel: request.realtime_model || offerOf(provider).model || ANY_MODEL,
      signal,
    };
    try {
      for await (const cell of probeFromBrowser(probe)) {
        this.#browserCells.set(placeOf(cell.row, cell.way), cell);
      }
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      this.browser = { kind: 'refused', message: error.message };
    }
  }

  #lastWords(): string {
    const { states, outcome } = own.t;
    switch (this.phase.kind) {
      case 'idle':
      case 'running':
        return '';
      case 'done':
        return `${states.done} ${this.report?.controls_hold ? '' : outcome.faults}`;
      case 'cancelled':
      case 'broken':
        return own.t.states.partText;
      case 'failed':
        return this.phase.message;
    }
  }
}

function placeOf(row: string, way: string): string {
  return `${row} ${way}`;
}

function partOf(request: ProbeRequest, provider: ProviderView): BrowserPart {
  if (request.target !== null) return { kind: 'elsewhere' };
  if (!provider.realtime) return { kind: 'no-secret', provider: provider.name };
  const ways = waysOf({ modelsPath: provider.models_path, chatPath: provider.chat_path });
  return { kind: 'asked', ways };
}

function phaseOf(error: unknown): Phase {
  if (error instanceof ApiFailure) {
    return { kind: 'failed', failure: failureOf(error), message: error.message };
  }
  if (error instanceof RunFailed) return { kind: 'failed', failure: 'failed', message: error.message };
  if (error instanceof TypeError) return { kind: 'broken' }; // what a body that breaks off is to `fetch`
  throw error;
}

function failureOf({ status, isAbsence }: ApiFailure): Failure {
  if (isAbsence) return 'unreachable';
  return status === 403 ? 'refused' : 'invalid';
}

export const probeRun = new ProbeRun();
