import { Readable } from 'node:stream';
import type {
  CacheOutcome,
  CallOptions,
  LinkKey,
  RegistryOperation,
  RegistryRequest,
  RegistryResponse,
  StoredBlob,
  UpstreamRepository,
} from '../contracts/index.js';
import { SingleFlight } from '../decorators/single-flight.js';
import { type Digest, isComputable } from '../reference/digest.js';
import { type CacheParts, isDown, isMissing, plainRequest, unhurried } from './cache-parts.js';
import { ContentBody, type ContentSource } from './content-body.js';
import { Download } from './download.js';
import { storedAnswer } from './stored-answer.js';

type BlobOperation = Extract<RegistryOperation, { kind: 'blob' }>;

const mediaType = 'application/octet-stream';
/** Milliseconds until an upstream begins to send. */
const longest = 600_000;

interface Question {
  readonly request: RegistryRequest;
  readonly digest: Digest;
  readonly repository: UpstreamRepository;
  /** Of the repository, before anybody is asked. */
  readonly mark: string;
}

/** Blobs, which are fetched once at a time. */
export class CachedBlobs {
  readonly #parts: CacheParts;
  readonly #downloads = new Map<string, Download>();
  readonly #beginnings = new SingleFlight<Download | NotKept>(longest);
  readonly #confirmations = new SingleFlight<CacheOutcome>(longest);

  constructor(parts: CacheParts) {
    this.#parts = parts;
  }

  /** @throws as the upstream's `fetch` */
  async fetch(
    request: RegistryRequest,
    { digest }: BlobOperation,
    repository: UpstreamRepository,
    o: CallOptions,
  ): Promise<RegistryResponse> {
    const { store, misses, metrics } = this.#parts;
    const question = { request, digest, repository, mark: store.mark(repository) };
    const missed = misses.find(keyOf(question), question.mark);
    if (missed !== undefined) throw missed;
    try {
      const answer = isComputable(digest) ? await this.#find(question, o) : await this.#passed(question, o);
      metrics.request('blob', answer.cache?.result ?? 'passed');
      return answer;
    } catch (error) {
      if (isMissing(error)) {
        misses.add(keyOf(question), error, question.mark);
        await this.#parts.links.remove(repository, { kind: 'content', digest }, o);
      }
      throw error;
    }
  }

  close(): void {
    this.#beginnings.close();
    this.#confirmations.close();
  }

  async #find(question: Question, o: CallOptions): Promise<RegistryResponse> {
    const { request, digest } = question;
    const blob = await this.#parts.store.open(digest, o);
    if (blob !== undefined) return this.#stored(question, blob, o);
    // A part of what is not here is not worth the whole, and who only asks for it is not made to wait.
    if (request.method === 'HEAD' || request.headers.has('range')) return this.#passed(question, o);
    return this.#downloaded(question, o);
  }

  async #stored(question: Question, blob: StoredBlob, o: CallOptions): Promise<RegistryResponse> {
    const { request, digest } = question;
    let isKept = false;
    try {
      const cache = await this.#allowed(question, o);
      const { part, ...answer } = storedAnswer(request, { digest, size: blob.size, mediaType }, cache);
      if (part === undefined) return answer;
      isKept = true;
      return { ...answer, body: new ContentBody(sourceOf(blob), part) };
    } finally {
      if (!isKept) await blob.close();
    }
  }

  /** That the bytes are here is not enough: this repository must be known to hold them (threat 10). */
  async #allowed(question: Question, o: CallOptions): Promise<CacheOutcome> {
    const { links, freshness, clock } = this.#parts;
    const { repository, mark, digest } = question;
    const key: LinkKey = { kind: 'content', digest };
    const link = await links.find(repository, key, { ...o, mark });
    if (link !== undefined && clock.now() - link.checkedAt < freshness.content) return { result: 'hit' };
    try {
      return await this.#confirmations.run(`${keyOf(question)} ${mark}`, o, async (signal) => {
        await this.#parts.inner.fetch(plainRequest(question.request, 'HEAD'), { signal });
        await links.write(repository, key, { digest, checkedAt: clock.now() }, { signal, mark });
        return { result: 'revalidated' };
      });
    } catch (error) {
      if (link === undefined || !isDown(error)) throw error;
      return { result: 'stale', reason: error.code };
    }
  }

  async #downloaded(question: Question, o: CallOptions): Promise<RegistryResponse> {
    const { request, digest } = question;
    const key = keyOf(question);
    const download =
      this.#downloads.get(key) ??
      (await this.#beginnings.run(key, o, (signal) => this.#begin(question, signal)));
    if (download instanceof NotKept) {
      const first = download.take(o.signal);
      return first === undefined ? this.#passed(question, o) : { ...first, cache: { result: 'passed' } };
    }
    const source = download.join(o.signal);
    if (source === undefined) return this.#passed(question, o);
    const content = { digest, size: download.size, mediaType };
    const { part, ...answer } = storedAnswer(request, content, { result: 'miss' });
    if (part === undefined) {
      source.leave();
      return answer;
    }
    return { ...answer, body: new ContentBody(source, part) };
  }

  /** Whoever waits for it joins it at once, or it ends. */
  async #begin(question: Question, signal: AbortSignal): Promise<Download | NotKept> {
    const { store, inner, links, clock, metrics, log } = this.#parts;
    const { request, digest, repository, mark } = question;
    const key = keyOf(question);
    // The one that is given here lasts until it has begun.
    const begun = new AbortController();
    const onAbort = () => begun.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const first = await inner.fetch(plainRequest(request, 'GET'), { signal: begun.signal });
    signal.removeEventListener('abort', onAbort);
    const size = Number(first.headers.get('content-length') ?? Number.NaN);
    const writer =
      first.status === 200 && Number.isSafeInteger(size)
        ? await store.create(digest, size, unhurried)
        : undefined;
    if (writer === undefined) return new NotKept(first, begun);
    const download = new Download({
      writer,
      size,
      log,
      fetchFrom: (position, signal) => this.#fetchFrom(question, position, size, signal),
      completed: () =>
        links.write(
          repository,
          { kind: 'content', digest },
          { digest, checkedAt: clock.now() },
          { ...unhurried, mark },
        ),
      ended: () => {
        if (this.#downloads.get(key) === download) this.#downloads.delete(key);
      },
      resumed: () => metrics.resumed(),
      failed: () => metrics.failed(),
    });
    this.#downloads.set(key, download);
    const held = download.join(begun.signal);
    void download.run(first);
    setImmediate(() => held?.leave());
    return download;
  }

  async #fetchFrom(
    { request }: Question,
    position: number,
    size: number,
    signal: AbortSignal,
  ): Promise<RegistryResponse> {
    const plain = plainRequest(request, 'GET');
    if (position === 0) return this.#parts.inner.fetch(plain, { signal });
    const headers = new Map([...plain.headers, ['range', `bytes=${position}-${size - 1}`]]);
    const answer = await this.#parts.inner.fetch({ ...plain, headers }, { signal });
    if (answer.status === 206 || answer.body === undefined) return answer;
    // RFC 9110 section 14.2: a server may ignore the range.
    return { ...answer, body: Readable.from(without(answer.body, position), { objectMode: false }) };
  }

  async #passed({ request }: Question, o: CallOptions): Promise<RegistryResponse> {
    const answer = await this.#parts.inner.fetch({ ...request, blobs: 'stream' }, o);
    return { ...answer, cache: { result: 'passed' } };
  }
}

/** An answer that cannot be kept: it is for one of those who wait, and the others ask for themselves. */
class NotKept {
  readonly #begun: AbortController;
  #answer: RegistryResponse | undefined;

  constructor(answer: RegistryResponse, begun: AbortController) {
    this.#answer = answer;
    this.#begun = begun;
    setImmediate(() => {
      if (this.#answer === undefined) return;
      this.#answer = undefined;
      begun.abort(new Error('nobody waits for it any more'));
      answer.body?.destroy();
    });
  }

  /** @param signal of whoever takes it. @returns undefined where somebody has */
  take(signal: AbortSignal): RegistryResponse | undefined {
    const answer = this.#answer;
    if (answer === undefined || signal.aborted) return undefined;
    this.#answer = undefined;
    signal.addEventListener('abort', () => this.#begun.abort(signal.reason), { once: true });
    return answer;
  }
}

function sourceOf(blob: StoredBlob): ContentSource {
  return {
    read: (into, position) => blob.read(into, position),
    leave: () => void blob.close(),
  };
}

function keyOf({ repository, digest }: Question): string {
  return `${repository.name}@${digest}`;
}

async function* without(body: Readable, count: number): AsyncGenerator<Uint8Array> {
  let left = count;
  for await (const piece of body as AsyncIterable<Uint8Array>) {
    const rest = piece.subarray(Math.min(left, piece.length));
    left -= piece.length - rest.length;
    if (rest.length > 0) yield rest;
  }
}
