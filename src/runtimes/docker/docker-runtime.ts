import type { CallOptions } from '../../contracts/call-options.js';
import type { Clock } from '../../contracts/clock.js';
import type { Log } from '../../contracts/log.js';
import {
  type FilesystemUsage,
  type PullOptions,
  type Runtime,
  RuntimeError,
  type RuntimeImage,
} from '../../contracts/runtime.js';
import { SingleFlight } from '../../decorators/single-flight.js';
import { type ImageReference, printImageReference } from '../../reference/image-reference.js';
import type { ImagePattern } from '../../settings/image-pattern.js';
import {
  type AskedImage,
  engineName,
  exactName,
  isAsked,
  isListedFor,
  parseAskedImage,
} from './asked-image.js';
import { DiskUsage } from './disk-usage.js';
import { EngineClient, unexpected } from './engine-client.js';
import { imagePath } from './image-path.js';
import { parseImageList, parseInspectedImage } from './image-records.js';
import { parsed } from './parsed.js';
import { pullImage } from './pull-image.js';
import { removeImage } from './remove-image.js';
import { EngineActivity } from './stall-watch.js';

export interface DockerRuntimeParts {
  /** Of the engine's socket. */
  readonly path: string;
  /** Milliseconds without progress, after which a pull is given up. */
  readonly stallTimeout: number;
  /** Images that are told to be pinned. */
  readonly pinned: readonly ImagePattern[];
  readonly clock: Clock;
  readonly log: Log;
  /** Milliseconds for the answer to anything but a pull. */
  readonly patience?: number;
}

/** Milliseconds for the removal of one image, which may have many names. */
const removalLimit = 10 * 60_000;

/** The images of a Docker Engine. Connects when it is asked, each time anew. */
export class DockerRuntime implements Runtime {
  readonly kind = 'engine';
  readonly #client: EngineClient;
  readonly #usage: DiskUsage;
  readonly #stallTimeout: number;
  readonly #pinned: readonly ImagePattern[];
  readonly #activity = new EngineActivity();
  readonly #removals = new SingleFlight<void>(removalLimit);

  constructor({ path, stallTimeout, pinned, clock, log, patience }: DockerRuntimeParts) {
    this.#client = new EngineClient(path, log, patience);
    this.#usage = new DiskUsage(this.#client, clock, patience);
    this.#stallTimeout = stallTimeout;
    this.#pinned = pinned;
  }

  async pull(image: ImageReference, o: PullOptions): Promise<string> {
    const parts = { client: this.#client, activity: this.#activity, stallTimeout: this.#stallTimeout };
    await pullImage(parts, image, o);
    const name = exactName(image);
    const found = await this.#inspect({ kind: 'name', name }, o.signal);
    if (found) return found.id;
    throw new RuntimeError(
      'failed',
      `the Docker Engine reports that the pull is done, and has no ${printImageReference(name)}`,
    );
  }

  async status(image: string, o: CallOptions): Promise<RuntimeImage | undefined> {
    o.signal.throwIfAborted();
    const asked = parseAskedImage(image);
    if (asked === undefined) return undefined;
    const found = await this.#inspect(asked, o.signal);
    if (found !== undefined || asked.kind !== 'digest') return found;
    // The engine's own image store knows a manifest's digest by its repository only.
    const [named] = await this.#list(asked, o.signal);
    const id = named && parseAskedImage(named.id);
    return id && this.#inspect(id, o.signal);
  }

  async list(o: CallOptions & { readonly image?: string }): Promise<readonly RuntimeImage[]> {
    o.signal.throwIfAborted();
    if (o.image === undefined) return this.#list(undefined, o.signal);
    const asked = parseAskedImage(o.image);
    return asked === undefined ? [] : this.#list(asked, o.signal);
  }

  async remove(image: string, o: CallOptions): Promise<void> {
    const found = await this.status(image, o);
    if (found === undefined) return;
    try {
      await this.#removals.run(found.id, o, (signal) => this.#remove(found, signal));
    } catch (error) {
      o.signal.throwIfAborted();
      throw this.#client.lost(error);
    }
  }

  async fsInfo(o: CallOptions): Promise<readonly FilesystemUsage[]> {
    return [await this.#usage.read(o.signal)];
  }

  async ping({ signal }: CallOptions): Promise<void> {
    const answer = await this.#client.call({ method: 'GET', path: '/_ping', signal });
    if (answer.status !== 200) throw unexpected('GET /_ping', answer);
  }

  async close(): Promise<void> {
    this.#usage.close();
    this.#removals.close();
    await this.#client.close();
  }

  async #inspect(asked: AskedImage, signal: AbortSignal): Promise<RuntimeImage | undefined> {
    const path = `${imagePath(engineName(asked))}/json`;
    const answer = await this.#client.call({ method: 'GET', path, signal });
    // Engines differ in what may be a name: Docker 20.10 knows no host by its upper case.
    const isNoName = answer.status === 400 && /invalid reference format/.test(answer.text);
    if (answer.status === 404 || isNoName) return undefined;
    if (answer.status !== 200) throw unexpected(`GET ${path}`, answer);
    const found = parsed(answer, (json) => parseInspectedImage(json, this.#pinned));
    return isAsked(asked, found) ? found : undefined;
  }

  /** Not by the engine's own filter: it leaves out the other tags of an image, and reads `[::1]` as a pattern. */
  async #list(asked: AskedImage | undefined, signal: AbortSignal): Promise<readonly RuntimeImage[]> {
    const answer = await this.#client.call({ method: 'GET', path: '/images/json', signal });
    if (answer.status !== 200) throw unexpected('GET /images/json', answer);
    const images = parsed(answer, (json) => parseImageList(json, this.#pinned));
    return asked === undefined ? images : images.filter((image) => isListedFor(asked, image));
  }

  async #remove(image: RuntimeImage, signal: AbortSignal): Promise<void> {
    try {
      await removeImage(this.#client, image, signal);
    } catch (error) {
      // Two who remove the same one trip over each other in the engine.
      const id = parseAskedImage(image.id);
      if (!id || (await this.#inspect(id, signal))) throw error;
    }
  }
}
