import type { PullProgress } from '../../contracts/runtime.js';
import type { PullMessage } from './pull-message.js';

type State = 'waiting' | 'downloading' | 'downloaded' | 'extracting' | 'done';

interface Layer {
  state: State;
  bytes: number;
}

/** What the engine says of a layer, and where it is then. A line about anything else has another status. */
const states: ReadonlyMap<string, State> = new Map([
  ['Pulling fs layer', 'waiting'],
  ['Waiting', 'waiting'],
  ['Downloading', 'downloading'],
  ['Verifying Checksum', 'downloading'],
  ['Download complete', 'downloaded'],
  ['Extracting', 'extracting'],
  ['Pull complete', 'done'],
  ['Already exists', 'done'],
]);

/** No image has so many; an engine that names more of them is not believed. */
const maxIds = 4096;

/** How far a pull has come, by what the engine says of each layer. */
export class LayerProgress {
  readonly #layers = new Map<string, Layer>();
  /** The last that was said of each id. */
  readonly #said = new Map<string, string>();

  /** @returns false where nothing has moved: the engine says the same again while nothing comes */
  take({ id, status, current, total, units }: PullMessage): boolean {
    const said = `${status} ${current}`;
    if (this.#said.get(id) === said) return false;
    if (this.#said.size >= maxIds && !this.#said.has(id)) return true;
    this.#said.set(id, said);
    const state = status.startsWith('Retrying in ') ? 'downloading' : states.get(status);
    if (state === undefined || id === '') return true;
    const layer = this.#layers.get(id) ?? { state, bytes: 0 };
    layer.state = state;
    // With its containerd image store the engine counts the seconds of an extraction.
    if (units === '') layer.bytes = bytesOf(state, layer.bytes, current, total);
    this.#layers.set(id, layer);
    return true;
  }

  get snapshot(): PullProgress {
    const layers = [...this.#layers.values()];
    return {
      bytes: layers.reduce((sum, { bytes }) => sum + bytes, 0),
      layers: { done: layers.filter(({ state }) => state === 'done').length, total: layers.length },
    };
  }

  get isExtracting(): boolean {
    return this.#some('extracting');
  }

  /** Nothing of this image moves because the engine is busy with others: it loads few layers at a time. */
  get isWaiting(): boolean {
    return this.#some('waiting') && !this.#some('downloading') && !this.isExtracting;
  }

  #some(wanted: State): boolean {
    return [...this.#layers.values()].some(({ state }) => state === wanted);
  }
}

/** A layer that is extracted has been loaded whole; a download that begins again counts from where it is. */
function bytesOf(state: State, bytes: number, current: number, total: number): number {
  if (state === 'downloading') return current > 0 ? current : bytes;
  return state === 'extracting' ? Math.max(bytes, total) : bytes;
}
