import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../contracts/clock.js';
import { RegistryError } from '../errors.js';
import type { Scope } from '../reference/scope.js';
import { type Answer, bytesAnswer, delay, type Exchange, errorAnswer, jsonAnswer, send } from './answer.js';
import type { BlobContent } from './blob-content.js';
import { blobEndpoint } from './blob-endpoint.js';
import { BlobStorage, type StorageOptions } from './blob-storage.js';
import { type FaultEffect, Faults } from './faults.js';
import { catalogEndpoint, referrersEndpoint, tagsEndpoint } from './list-endpoint.js';
import { type LoopbackServer, startLoopbackServer, type TlsFiles } from './loopback-server.js';
import { manifestEndpoint } from './manifest-endpoint.js';
import { asContent, type ImageFiles, MemoryStore, type StoredManifest } from './memory-store.js';
import { basicGuard, type Guard, openGuard, type RegistryAuth, tokenGuard } from './registry-auth.js';
import { neededScope, parseRoute, type Route } from './registry-route.js';
import { type LoggedRequest, RequestLog, type RequestMatch } from './request-log.js';
import { type TokenRequest, TokenService } from './token-service.js';
import { type UploadSettings, Uploads } from './upload-endpoint.js';

export interface MemoryRegistryOptions {
  /** 127.0.0.1 where it is missing. */
  readonly host?: string;
  /** A free one where it is missing. */
  readonly port?: number;
  /** Serves https; the token and storage servers too. */
  readonly tls?: TlsFiles;
  /** Open where it is missing. */
  readonly auth?: RegistryAuth;
  /** Blobs come from object storage; without it from the registry itself. */
  readonly storage?: StorageOptions;
  /** Of token lifetimes; the system's where it is missing. */
  readonly clock?: Clock;
  /** Names a page of a list where the client does not say; 100 where it is missing. */
  readonly pageSize?: number;
  /** How `Link` is written; relative where it is missing. */
  readonly links?: 'relative' | 'absolute';
  /** False: 404, as registries before OCI 1.1 answer. */
  readonly referrers?: boolean;
  /** False: deleting answers 405. */
  readonly deletes?: boolean;
  /** False: a manifest may refer to blobs that are not there. */
  readonly verifyBlobs?: boolean;
  readonly uploads?: {
    readonly location?: UploadSettings['location'];
    readonly chunked?: boolean;
    readonly minimumChunk?: number;
  };
}

/** A registry on the loopback interface, and everything a test may want to know about it. */
export interface MemoryRegistry {
  /** `http://127.0.0.1:41234`. */
  readonly url: string;
  /** `127.0.0.1:41234`. */
  readonly host: string;
  /** Of the token endpoint. */
  readonly tokenUrl: string;
  /** The origin of the storage server; the registry's own with relative redirects. */
  readonly storageUrl: string;
  readonly store: MemoryStore;
  readonly faults: Faults;
  /** All requests to the registry, its token endpoint and its storage, in the order of arrival. */
  readonly requests: readonly LoggedRequest[];
  /** What the token endpoint was asked. */
  readonly tokenRequests: readonly TokenRequest[];
  /** What `offline_token=true` gives, and `grant_type=refresh_token` accepts. Empty without token authentication. */
  readonly identityToken: string;
  /** Upload sessions that were neither finished nor cancelled. */
  readonly openUploads: number;
  putBlob(repository: string, blob: Uint8Array | BlobContent): BlobContent;
  putManifest(repository: string, reference: string, bytes: Uint8Array, mediaType: string): StoredManifest;
  putImage(repository: string, tag: string, image: ImageFiles): StoredManifest;
  /** Another user and password count from now on; tokens already issued stay. */
  setCredentials(username: string, password: string): void;
  /** Every token issued so far is refused from now on, with `invalid_token`. */
  revokeTokens(): void;
  /** Waits until a request that matches was received. @throws Error after `timeout` (5000) milliseconds */
  waitFor(match: RequestMatch, timeout?: number): Promise<LoggedRequest>;
  /** Forgets the requests so far. */
  forgetRequests(): void;
  /** Cuts all connections. A second call does nothing. */
  close(): Promise<void>;
}

/** Starts a real registry that keeps everything in memory: an upstream for tests and demonstrations. */
export async function startMemoryRegistry(options: MemoryRegistryOptions = {}): Promise<MemoryRegistry> {
  const running = new RunningRegistry(options);
  await running.start();
  return running;
}

class RunningRegistry implements MemoryRegistry {
  readonly store = new MemoryStore();
  readonly faults = new Faults();
  readonly #options: MemoryRegistryOptions;
  readonly #log = new RequestLog();
  readonly #uploads = new Uploads();
  readonly #servers: LoopbackServer[] = [];
  readonly #tokens: TokenService | undefined;
  readonly #storage: BlobStorage | undefined;
  readonly #guard: Guard;
  #basic = { username: '', password: '' };
  url = '';
  tokenUrl = '';
  storageUrl = '';

  constructor(options: MemoryRegistryOptions) {
    this.#options = options;
    const { auth, storage, clock } = options;
    this.#storage = storage && new BlobStorage(this.store, storage);
    if (auth?.kind === 'token') {
      const tokens = new TokenService(auth, {
        realm: () => this.tokenUrl,
        now: () => clock?.now() ?? Date.now(),
        exists: (repository) => this.store.has(repository),
      });
      this.#tokens = tokens;
      this.#guard = tokenGuard(tokens);
    } else if (auth?.kind === 'basic') {
      this.#basic = { username: auth.username, password: auth.password };
      this.#guard = basicGuard(() => this.#basic);
    } else {
      this.#guard = openGuard;
    }
  }

  async start(): Promise<void> {
    const { auth, storage } = this.#options;
    this.url = await this.#listen('registry', (exchange) => this.#answer(exchange), this.#options.port);
    const otherToken = auth?.kind === 'token' && auth.origin === 'other';
    const tokenOrigin = otherToken
      ? await this.#listen('token', (exchange) => this.#token(exchange))
      : this.url;
    this.tokenUrl = `${tokenOrigin}/token`;
    const blobs = this.#storage;
    const otherStorage = blobs !== undefined && storage?.redirect === 'absolute';
    this.storageUrl = otherStorage
      ? await this.#listen('storage', (exchange) => Promise.resolve(blobs.answer(exchange)))
      : this.url;
  }

  get host(): string {
    return new URL(this.url).host;
  }
  get requests(): readonly LoggedRequest[] {
    return this.#log.requests;
  }
  get tokenRequests(): readonly TokenRequest[] {
    return this.#tokens?.requests ?? [];
  }
  get identityToken(): string {
    return this.#tokens?.identityToken ?? '';
  }
  get openUploads(): number {
    return this.#uploads.open;
  }

  putBlob(repository: string, blob: Uint8Array | BlobContent): BlobContent {
    const content = asContent(blob);
    this.store.putBlob(repository, content);
    return content;
  }

  putManifest(repository: string, reference: string, bytes: Uint8Array, mediaType: string): StoredManifest {
    return this.store.putManifest(repository, reference, bytes, mediaType);
  }

  putImage(repository: string, tag: string, image: ImageFiles): StoredManifest {
    return this.store.putImage(repository, tag, image);
  }

  setCredentials(username: string, password: string): void {
    this.#basic = { username, password };
    if (this.#tokens) this.#tokens.user = { username, password };
  }

  revokeTokens(): void {
    this.#tokens?.revokeAll();
  }

  waitFor(match: RequestMatch, timeout = 5_000): Promise<LoggedRequest> {
    return this.#log.waitFor(match, timeout);
  }

  forgetRequests(): void {
    this.#log.requests.length = 0;
    if (this.#tokens) this.#tokens.requests.length = 0;
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.close()));
  }

  async #listen(
    kind: LoggedRequest['server'],
    answer: (exchange: Exchange) => Promise<Answer>,
    port?: number,
  ): Promise<string> {
    const { host, tls } = this.#options;
    const server = await startLoopbackServer(
      (request, response) => void this.#serve(kind, answer, request, response),
      { ...(host !== undefined && { host }), ...(port !== undefined && { port }), ...(tls && { tls }) },
    );
    this.#servers.push(server);
    return server.url;
  }

  async #serve(
    kind: LoggedRequest['server'],
    answer: (exchange: Exchange) => Promise<Answer>,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const url = new URL(`http://registry.invalid${request.url ?? '/'}`);
    const method = request.method ?? 'GET';
    const inside = kind === 'registry' ? insideKind(url.pathname) : kind;
    const entry = this.#log.add(inside, request, response);
    const fault = this.faults.take(entry);
    const exchange: Exchange = { request, method, url, entry, fault };
    request.on('error', () => undefined); // the client went away; the log says so
    response.on('error', () => undefined);
    if (fault?.delay !== undefined) await delay(fault.delay, entry);
    if (fault?.reset) {
      entry.cutByFault = true;
      request.socket.resetAndDestroy();
      return;
    }
    const chosen = fault?.answer ? await faultAnswer(fault.answer) : await settle(answer, exchange);
    if (!chosen || response.destroyed) return;
    await send(exchange, response, chosen, fault);
    request.resume(); // what was not read must not hold up the connection
  }

  #token(exchange: Exchange): Promise<Answer> {
    if (this.#tokens && exchange.url.pathname === '/token') return this.#tokens.answer(exchange);
    return Promise.resolve(bytesAnswer(404, Buffer.from('404 page not found\n')));
  }

  async #answer(exchange: Exchange): Promise<Answer> {
    const { pathname } = exchange.url;
    if (pathname === '/token') return this.#token(exchange);
    if (this.#storage && pathname.startsWith('/artifacts-downloads/')) return this.#storage.answer(exchange);
    let wanted: Scope | undefined;
    try {
      const route = parseRoute(pathname);
      if (!route) return bytesAnswer(404, Buffer.from('404 page not found\n'));
      wanted = neededScope(route, exchange.method);
      this.#guard.check(exchange.request.headers, wanted);
      return withVersion(await this.#endpoint(exchange, route));
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      if (error.code !== 'UNAUTHORIZED') return withVersion(errorAnswer(error));
      return withVersion(errorAnswer(error, { 'www-authenticate': this.#guard.challenge(wanted, error) }));
    }
  }

  async #endpoint(exchange: Exchange, route: Route): Promise<Answer> {
    const { store } = this;
    const { deletes = true, verifyBlobs = true, referrers = true } = this.#options;
    switch (route.kind) {
      case 'ping':
        return jsonAnswer(200, {});
      case 'catalog':
        return catalogEndpoint(exchange, this.#lists());
      case 'tags':
        return tagsEndpoint(exchange, route.repository, this.#lists());
      case 'manifest':
        return manifestEndpoint(exchange, route.repository, route.reference, { store, deletes, verifyBlobs });
      case 'blob': {
        const redirect = this.#redirect();
        return blobEndpoint(exchange, route.repository, route.digest, {
          store,
          deletes,
          ...(redirect && { redirect }),
        });
      }
      case 'referrers':
        if (!referrers) return bytesAnswer(404, Buffer.from('404 page not found\n'));
        return referrersEndpoint(exchange, route.repository, route.digest, store);
      case 'upload-start':
        return this.#uploads.start(exchange, route.repository, this.#uploadSettings(exchange));
      case 'upload':
        return this.#uploads.continue(
          exchange,
          route.repository,
          route.session,
          this.#uploadSettings(exchange),
        );
    }
  }

  #lists() {
    const { pageSize = 100, links } = this.#options;
    return { store: this.store, pageSize, linkOrigin: () => (links === 'absolute' ? this.url : '') };
  }

  #redirect() {
    const { storage } = this.#options;
    const signer = this.#storage;
    if (!storage || !signer) return undefined;
    const origin = storage.redirect === 'absolute' ? this.storageUrl : '';
    return (digest: string) => ({
      status: storage.status ?? 307,
      location: `${origin}${signer.sign(digest)}`,
    });
  }

  #uploadSettings(exchange: Exchange): UploadSettings {
    const { location = 'relative', chunked = true, minimumChunk } = this.#options.uploads ?? {};
    return {
      store: this.store,
      location,
      chunked,
      ...(minimumChunk !== undefined && { minimumChunk }),
      origin: () => this.url,
      allows: (scope) => {
        try {
          this.#guard.check(exchange.request.headers, scope);
          return true;
        } catch {
          return false;
        }
      },
    };
  }
}

/** Endpoints of other services that live on the registry's own server. */
function insideKind(path: string): LoggedRequest['server'] {
  if (path === '/token') return 'token';
  return path.startsWith('/artifacts-downloads/') ? 'storage' : 'registry';
}

function withVersion(answer: Answer): Answer {
  return { ...answer, headers: { 'docker-distribution-api-version': 'registry/2.0', ...answer.headers } };
}

async function faultAnswer(answer: NonNullable<FaultEffect['answer']>): Promise<Answer> {
  await nextTurn();
  const body = answer.body ?? '';
  return bytesAnswer(answer.status, typeof body === 'string' ? Buffer.from(body) : body, answer.headers);
}

/** @returns undefined where the client went away while its body was read */
async function settle(
  answer: (exchange: Exchange) => Promise<Answer>,
  exchange: Exchange,
): Promise<Answer | undefined> {
  try {
    return await answer(exchange);
  } catch (error) {
    if (!exchange.request.complete) return undefined;
    if (error instanceof RegistryError) return errorAnswer(error);
    throw error;
  }
}
