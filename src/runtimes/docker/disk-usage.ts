import { statfs } from 'node:fs/promises';
import { z } from 'zod';
import type { Clock } from '../../contracts/clock.js';
import type { FilesystemUsage } from '../../contracts/runtime.js';
import { SingleFlight } from '../../decorators/single-flight.js';
import { type EngineClient, unexpected } from './engine-client.js';
import { parsed } from './parsed.js';

/** Milliseconds. Kubelet asks every ten seconds, and cAdvisor beside it. */
const keptFor = 9_000;
/** Milliseconds: an engine that is busy adds up the sizes slowly; there is another way. */
const usagePatience = 5_000;
/** From here on the engine can tell of images alone, and does not measure every volume. */
const usageByType = 42;

const engineInfo = z.object({ DockerRootDir: z.string().regex(/^\//) });
/** `LayersSize` up to API 1.51, `ImageUsage` from 1.52 on. */
const engineUsage = z.object({
  LayersSize: z.number().optional(),
  ImageUsage: z.object({ TotalSize: z.number() }).nullish(),
});
const sizes = z.array(z.object({ Size: z.number() }));

/** What the engine's images take on the host's disk (CRI ImageFsInfo), from the API and one statfs: no tree is walked. */
export class DiskUsage {
  readonly #client: EngineClient;
  readonly #clock: Clock;
  readonly #asking: SingleFlight<FilesystemUsage>;
  #last: FilesystemUsage | undefined;

  /** @param timeLimit milliseconds for the whole */
  constructor(client: EngineClient, clock: Clock, timeLimit = 110_000) {
    this.#client = client;
    this.#clock = clock;
    this.#asking = new SingleFlight(timeLimit);
  }

  /** A few seconds old at most. @throws RuntimeError; the signal's reason */
  async read(signal: AbortSignal): Promise<FilesystemUsage> {
    signal.throwIfAborted();
    const age = this.#clock.now() - (this.#last?.timestamp ?? Number.NEGATIVE_INFINITY);
    if (this.#last !== undefined && age >= 0 && age < keptFor) return this.#last;
    try {
      this.#last = await this.#asking.run('usage', { signal }, (stop) => this.#measure(stop));
      return this.#last;
    } catch (error) {
      signal.throwIfAborted();
      throw this.#client.lost(error);
    }
  }

  close(): void {
    this.#asking.close();
  }

  async #measure(signal: AbortSignal): Promise<FilesystemUsage> {
    const mountpoint = await this.#rootDirectory(signal);
    const [ofImages, ofDisk] = await Promise.all([this.#imageBytes(signal), diskOf(mountpoint)]);
    // Where layers that images share are counted for each of them, the disk knows better.
    const usedBytes = Math.min(ofImages, ofDisk?.usedBytes ?? ofImages);
    return { timestamp: this.#clock.now(), mountpoint, usedBytes, inodesUsed: ofDisk?.inodesUsed ?? 0 };
  }

  async #rootDirectory(signal: AbortSignal): Promise<string> {
    const answer = await this.#client.call({ method: 'GET', path: '/info', signal });
    if (answer.status !== 200) throw unexpected('GET /info', answer);
    return parsed(answer, (json) => engineInfo.parse(json)).DockerRootDir;
  }

  async #imageBytes(signal: AbortSignal): Promise<number> {
    return (await this.#layerBytes(signal)) ?? (await this.#summedBytes(signal));
  }

  /** @returns undefined where the engine does not tell: it is too old, or somebody else is asking it just now */
  async #layerBytes(signal: AbortSignal): Promise<number | undefined> {
    if ((await this.#client.version(signal)).minor < usageByType) return undefined;
    const query = { type: 'image' };
    try {
      const answer = await this.#client.call(
        { method: 'GET', path: '/system/df', query, signal },
        usagePatience,
      );
      if (answer.status !== 200) return undefined;
      const { LayersSize, ImageUsage } = parsed(answer, (json) => engineUsage.parse(json));
      return LayersSize ?? ImageUsage?.TotalSize;
    } catch {
      signal.throwIfAborted();
      return undefined;
    }
  }

  async #summedBytes(signal: AbortSignal): Promise<number> {
    const answer = await this.#client.call({ method: 'GET', path: '/images/json', signal });
    if (answer.status !== 200) throw unexpected('GET /images/json', answer);
    return parsed(answer, (json) => sizes.parse(json)).reduce((sum, { Size }) => sum + Size, 0);
  }
}

/** @returns undefined where the engine's directory is not to be seen from here: it is a path of the host */
async function diskOf(path: string) {
  try {
    const { blocks, bfree, bsize, files, ffree } = await statfs(path);
    return { usedBytes: (blocks - bfree) * bsize, inodesUsed: files - ffree };
  } catch {
    return undefined;
  }
}
