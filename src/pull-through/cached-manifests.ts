import type { Readable } from 'node:stream';
import { LRUCache } from 'lru-cache';
import type {
  CacheOutcome,
  CallOptions,
  Link,
  LinkKey,
  RegistryOperation,
  RegistryRequest,
  RegistryResponse,
  UpstreamRepository,
} from '../contracts/index.js';
import { SingleFlight } from '../decorators/single-flight.js';
import { RegistryError } from '../errors.js';
import { type HeldBytes, heldBody } from '../protocol/byte-budget.js';
import { readBounded } from '../protocol/read-bounded.js';
import { type Digest, isComputable, isDigest } from '../reference/digest.js';
import { acceptVariant } from './accept-variant.js';
import { type CacheParts, isDown, isMissing, plainRequest } from './cache-parts.js';
import { storedAnswer } from './stored-answer.js';

type ManifestOperation = Extract<RegistryOperation, { kind: 'manifest' }>;

/** A manifest that is here, and what was done for it. */
interface Found extends CacheOutcome {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** Bytes: of the manifests in memory, and the largest one of all (the upstream's driver bounds it, too). */
const memory = 16 * 1024 * 1024;
const largest = 8 * 1024 * 1024;
/** Milliseconds for one question to an upstream. */
const longest = 600_000;
const readTime = 120_000;

/** They are bounded already: by the memory above. */
const free: HeldBytes = { counted: 0, take: () => {}, release: () => {} };

interface Question {
  readonly request: RegistryRequest;
  readonly repository: UpstreamRepository;
  /** Of the repository, before anybody is asked. */
  readonly mark: string;
  /** What it is found by: the tag, or its content. */
  readonly key: LinkKey;
}

/** Manifests by digest and by tag. */
export class CachedManifests {
  readonly #parts: CacheParts;
  readonly #bytes = new LRUCache<Digest, Uint8Array>({
    maxSize: memory,
    sizeCalculation: ({ length }) => length + 500,
  });
  readonly #flights = new SingleFlight<Found>(longest);

  constructor(parts: CacheParts) {
    this.#parts = parts;
  }

  /** @throws as the upstream's `fetch` */
  async fetch(
    request: RegistryRequest,
    { reference }: ManifestOperation,
    repository: UpstreamRepository,
    o: CallOptions,
  ): Promise<RegistryResponse> {
    const { store, metrics, inner } = this.#parts;
    if (reference.kind === 'digest' && !isComputable(reference.digest)) return inner.fetch(request, o);
    const key: LinkKey =
      reference.kind === 'digest'
        ? { kind: 'content', digest: reference.digest }
        : { kind: 'tag', tag: reference.tag, variant: acceptVariant(request.headers.get('accept')) };
    const question = { request, repository, mark: store.mark(repository), key };
    const found = this.#fromMemory(question) ?? (await this.#find(question, o));
    metrics.request(key.kind === 'tag' ? 'tag' : 'manifest', found?.result ?? 'passed');
    // Whoever only asks whether it is there is not made to wait until it has come.
    if (found === undefined) return this.#passed(question, o);
    const { digest, mediaType, bytes, result, reason } = found;
    const content = { digest, mediaType, size: bytes.length };
    const { part, ...answer } = storedAnswer(request, content, { result, ...(reason && { reason }) });
    return part === undefined ? answer : { ...answer, body: heldBody(bytes, free, o.signal) };
  }

  close(): void {
    this.#flights.close();
  }

  /** Without any wait: most requests end here. */
  #fromMemory({ repository, mark, key }: Question): Found | undefined {
    const { links } = this.#parts;
    const named = links.remembered(repository, key, mark);
    if (named === undefined || !this.#isFresh(key, named)) return undefined;
    const content: LinkKey = { kind: 'content', digest: named.digest };
    const link = key.kind === 'content' ? named : links.remembered(repository, content, mark);
    const bytes = link && this.#isFresh(content, link) && this.#bytes.get(link.digest);
    if (!bytes || link.mediaType === undefined) return undefined;
    return { digest: link.digest, mediaType: link.mediaType, bytes, result: 'hit' };
  }

  /** @returns undefined for a HEAD that the upstream alone can answer */
  async #find(question: Question, o: CallOptions): Promise<Found | undefined> {
    const { repository, mark, key, request } = question;
    const { links, misses } = this.#parts;
    const missed = misses.find(missKey(question), mark);
    if (missed !== undefined) throw missed;
    const named = await links.find(repository, key, { ...o, mark });
    const held = named && (await this.#held(question, named, o));
    if (named && held && this.#isFresh(key, named) && held.isFresh) return { ...held.found, result: 'hit' };
    if (request.method === 'HEAD' && held === undefined) return undefined;
    const flight = JSON.stringify([repository.name, key, mark]);
    return this.#flights.run(flight, o, (signal) => this.#ask(question, held?.found, { signal }));
  }

  /** What a link leads to, where it is here. */
  async #held({ repository, mark }: Question, { digest, mediaType }: Link, o: CallOptions) {
    const content: LinkKey = { kind: 'content', digest };
    const link = await this.#parts.links.find(repository, content, { ...o, mark });
    const type = link?.mediaType ?? mediaType;
    const bytes = type === undefined ? undefined : await this.#read(digest, o);
    if (type === undefined || bytes === undefined) return undefined;
    const isFresh = link !== undefined && this.#isFresh(content, link);
    return { found: { digest, mediaType: type, bytes }, isFresh };
  }

  /** Asks the upstream: for its word where the manifest is here, and for the manifest where it is not. */
  async #ask(question: Question, held: Omit<Found, 'result'> | undefined, o: CallOptions): Promise<Found> {
    try {
      const known = held && (await this.#confirmed(question, o));
      return known ?? (await this.#download(question, o));
    } catch (error) {
      if (isMissing(error)) await this.#forget(question, error, o);
      if (held === undefined || !isDown(error)) throw error;
      const { code: reason } = error;
      this.#parts.log.warn(
        { repository: question.repository.name, reason },
        'cache: an upstream fails, and what it said before is served',
      );
      return { ...held, result: 'stale', reason };
    }
  }

  /** A HEAD: it costs the upstream little, and counts against no limit of Docker Hub's. */
  async #confirmed(question: Question, o: CallOptions): Promise<Found | undefined> {
    const { headers } = await this.#parts.inner.fetch(plainRequest(question.request, 'HEAD'), o);
    const digest = headers.get('docker-content-digest');
    const mediaType = headers.get('content-type');
    if (digest === undefined || !isDigest(digest) || mediaType === undefined) return undefined;
    const bytes = await this.#read(digest, o);
    if (bytes === undefined) return undefined;
    await this.#link(question, digest, mediaType, o);
    return { digest, mediaType, bytes, result: 'revalidated' };
  }

  async #download(question: Question, o: CallOptions): Promise<Found> {
    const { inner, store } = this.#parts;
    const { headers, body } = await inner.fetch(plainRequest(question.request, 'GET'), o);
    const bytes = await bytesOf(body);
    const digest = headers.get('docker-content-digest');
    const mediaType = headers.get('content-type') ?? 'application/octet-stream';
    if (digest === undefined || !isDigest(digest)) {
      throw new RegistryError('UNAVAILABLE', { reason: 'a manifest without a digest' });
    }
    const found = { digest, mediaType, bytes, result: 'miss' } as const;
    // A signed manifest (schema 1) has the digest of what was signed: it cannot be verified here.
    const writer = isComputable(digest) ? await store.create(digest, bytes.length, o) : undefined;
    if (writer === undefined) return found;
    try {
      await writer.write(bytes);
      await writer.commit();
    } catch {
      return found;
    } finally {
      await writer.close();
    }
    this.#bytes.set(digest, bytes);
    await this.#link(question, digest, mediaType, o);
    return found;
  }

  async #link(
    { repository, mark, key }: Question,
    digest: Digest,
    mediaType: string,
    o: CallOptions,
  ): Promise<void> {
    const { links, clock } = this.#parts;
    const link = { digest, mediaType, checkedAt: clock.now() };
    await links.write(repository, { kind: 'content', digest }, link, { ...o, mark });
    if (key.kind === 'tag') await links.write(repository, key, link, { ...o, mark });
  }

  async #forget(question: Question, error: RegistryError, o: CallOptions): Promise<void> {
    this.#parts.misses.add(missKey(question), error, question.mark);
    await this.#parts.links.remove(question.repository, question.key, o);
  }

  async #passed(question: Question, o: CallOptions): Promise<RegistryResponse> {
    const { inner, misses } = this.#parts;
    try {
      const answer = await inner.fetch(question.request, o);
      await this.#noteTag(question, answer, o);
      return { ...answer, cache: { result: 'passed' } };
    } catch (error) {
      if (isMissing(error)) misses.add(missKey(question), error, question.mark);
      throw error;
    }
  }

  /** containerd asks where a tag leads, and then for that digest. */
  async #noteTag({ repository, key, mark }: Question, { status, headers }: RegistryResponse, o: CallOptions) {
    const digest = headers.get('docker-content-digest');
    const mediaType = headers.get('content-type');
    if (key.kind !== 'tag' || status !== 200 || digest === undefined || !isDigest(digest)) return;
    const link = { digest, checkedAt: this.#parts.clock.now(), ...(mediaType && { mediaType }) };
    await this.#parts.links.write(repository, key, link, { ...o, mark });
  }

  async #read(digest: Digest, o: CallOptions): Promise<Uint8Array | undefined> {
    const known = this.#bytes.get(digest);
    if (known !== undefined) return known;
    const blob = await this.#parts.store.open(digest, o);
    if (blob === undefined) return undefined;
    try {
      if (blob.size > largest) return undefined;
      const bytes = Buffer.allocUnsafeSlow(blob.size);
      for (let at = 0; at < bytes.length; ) {
        const count = await blob.read(bytes.subarray(at), at);
        if (count === 0) return undefined;
        at += count;
      }
      this.#bytes.set(digest, bytes);
      return bytes;
    } finally {
      await blob.close();
    }
  }

  #isFresh({ kind }: LinkKey, { checkedAt }: Link): boolean {
    const { freshness, clock } = this.#parts;
    return clock.now() - checkedAt < (kind === 'tag' ? freshness.tag : freshness.content);
  }
}

function missKey({ repository, key }: Question): string {
  return JSON.stringify([repository.name, key]);
}

async function bytesOf(body: Readable | undefined): Promise<Uint8Array> {
  const bytes = body && (await readBounded(body, largest, readTime));
  if (bytes === undefined) throw new RegistryError('UNAVAILABLE', { reason: 'a manifest that is too large' });
  return bytes;
}
