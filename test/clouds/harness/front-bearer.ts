import { randomBytes } from 'node:crypto';
import { parseBasic } from '../../../src/testing/basic-credentials.js';
import {
  type Action,
  coversAll,
  type FrontRequest,
  type FrontScope,
  parseFrontRequest,
  parseFrontScope,
  printFrontScope,
} from './front-request.js';
import { type StorageHost, type StorageHostManners, startStorageHost } from './front-storage-host.js';
import type { Storage } from './storage.js';
import type { Exchange, World } from './world.js';

// Hosted registries speak one protocol and differ in small things: a table of those, and one front that plays them all.

/** Somebody the registry knows. */
export interface FrontAccount {
  readonly username: string;
  readonly password: string;
  readonly may: readonly Action[];
}

/** An answer in the registry's own words. */
export interface FrontAnswer {
  readonly status: number;
  /** An object is JSON. */
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What one registry does its own way. */
export interface FrontManners {
  /** Where its API is. */
  readonly host: string;
  /** As its challenge writes it. */
  readonly realm: string;
  readonly service: string;
  /** The scope of the challenge to `/v2/`. */
  readonly pingScope?: string;
  readonly tokens: {
    /** A token's text; a random one where it is missing. */
    readonly write?: (account: FrontAccount | undefined) => string;
    /** Seconds. */
    readonly lifetime: number;
    /** Of the answer; the rest is left out. */
    readonly fields: readonly ('token' | 'access_token' | 'expires_in' | 'issued_at')[];
    /** False: a token stands for its account, whatever scope it was asked for. */
    readonly scoped: boolean;
    /** The actions that a scope may have; 400 to any other. Missing: what it does not know is not granted. */
    readonly actions?: readonly Action[];
  };
  /** What a token must grant to delete; `delete` where it is missing. */
  readonly deleteNeeds?: readonly Action[];
  /** A repository that does not exist is granted to nobody who only reads: it looks like one that is not ours. */
  readonly hidesAbsent: boolean;
  /** What the token endpoint says to a wrong password. */
  readonly wrongLogin: (username: string) => FrontAnswer;
  /** What it says where it grants none of what is asked. Missing: a token that grants less. */
  readonly nothingGranted?: FrontAnswer;
  /** What the registry says where a token does not reach; with a 401 comes the challenge. */
  readonly notCovered: (wanted: FrontScope) => FrontAnswer & { readonly error?: 'insufficient_scope' };
  /** What the registry says of what is not there, where that is not distribution's 404. */
  readonly absent?: (request: FrontRequest) => FrontAnswer;
  /** Where a GET of a blob leads; from the registry itself where it is missing. */
  readonly blobs?: StorageHostManners & {
    readonly status: 302 | 307;
    readonly head: 'redirected' | 'answered';
  };
  /** Looks at a request after its token: may answer it itself. */
  readonly limit?: (request: FrontRequest, account: FrontAccount | undefined) => FrontAnswer | undefined;
  /** More headers of what the storage answers. */
  readonly headers?: (
    request: FrontRequest,
    account: FrontAccount | undefined,
  ) => Readonly<Record<string, string>>;
}

/** One request to the token endpoint. */
export interface FrontLogin {
  /** Undefined where nobody was named. */
  readonly username: string | undefined;
  readonly scopes: readonly string[];
  readonly status: number;
}

export interface BearerFront {
  /** Where its API is. */
  readonly host: string;
  /** Where it gives tokens. */
  readonly tokenHost: string;
  readonly storageHost: StorageHost | undefined;
  readonly logins: readonly FrontLogin[];
  /** The tokens it gave out. */
  readonly tokens: readonly string[];
  /** Another password counts from now on; tokens that were given out stay. */
  setPassword(username: string, password: string): void;
  /** Every token that was given out is refused from now on. */
  revokeTokens(): void;
}

export interface FrontWorld {
  readonly world: World;
  readonly storage: Storage;
  readonly accounts: readonly FrontAccount[];
  /** Whom nobody has to know to pull; no repository where it is missing. */
  readonly isPublic?: (repository: string) => boolean;
}

interface Known {
  readonly account: FrontAccount | undefined;
  readonly scopes: readonly FrontScope[];
  readonly expiresAt: number;
}

export const registryError = (
  status: number,
  code: string,
  message: string,
  detail?: unknown,
): FrontAnswer => ({
  status,
  body: { errors: [{ code, message, ...(detail !== undefined && { detail }) }] },
});

/** Starts a registry at its hosts. It looks at every credential, and at nothing else than a client can see. */
export function startBearerFront(surroundings: FrontWorld, manners: FrontManners): BearerFront {
  return new Running(surroundings, manners);
}

class Running implements BearerFront {
  readonly host: string;
  readonly tokenHost: string;
  readonly storageHost: StorageHost | undefined;
  readonly logins: FrontLogin[] = [];
  readonly tokens: string[] = [];
  readonly #realm: URL;
  readonly #accounts: Map<string, FrontAccount>;
  readonly #known = new Map<string, Known>();
  /** Repositories that have nothing but layers may be unknown to the storage's lists. */
  readonly #made = new Set<string>();
  readonly #around: FrontWorld;
  readonly #manners: FrontManners;

  constructor(around: FrontWorld, manners: FrontManners) {
    this.#around = around;
    this.#manners = manners;
    this.#accounts = new Map(around.accounts.map((account) => [account.username, account]));
    this.#realm = new URL(manners.realm);
    this.host = manners.host;
    this.tokenHost = this.#realm.hostname;
    const { world, storage } = around;
    this.storageHost = manners.blobs && startStorageHost(world, storage, manners.blobs);
    world.host([...new Set([this.host, this.tokenHost])], (exchange) => this.#answer(exchange));
  }

  setPassword(username: string, password: string): void {
    const account = this.#accounts.get(username);
    if (account === undefined) throw new Error(`nobody is called ${username}`);
    this.#accounts.set(username, { ...account, password });
  }

  revokeTokens(): void {
    this.#known.clear();
  }

  async #answer(exchange: Exchange): Promise<void> {
    const { url, record } = exchange;
    if (url.hostname === this.tokenHost && url.pathname === this.#realm.pathname)
      return this.#token(exchange);
    const request =
      url.hostname === this.host ? parseFrontRequest(exchange, this.#manners.deleteNeeds) : undefined;
    if (request === undefined) return exchange.text(404, '404 page not found\n');
    const known = this.#knownBy(exchange);
    if (known === undefined) return this.#challenge(exchange, request);
    const { account } = known;
    const missing = await this.#missing(known, request);
    if (missing !== undefined) return this.#notCovered(exchange, request, missing);
    const limited = this.#manners.limit?.(request, account);
    if (limited !== undefined) return send(exchange, limited);
    const { absent, blobs } = this.#manners;
    if (request.kind === 'blob' && blobs !== undefined && this.storageHost !== undefined) {
      const redirected = record.method === 'GET' || (record.method === 'HEAD' && blobs.head === 'redirected');
      if (redirected && (await this.#isThere(record.path))) {
        const location = this.storageHost.sign(url.pathname).href;
        exchange.response.writeHead(blobs.status, { location, 'content-length': 0 }).end();
        return;
      }
    }
    const isRead = record.method === 'GET' || record.method === 'HEAD';
    if (absent !== undefined && isRead && request.kind !== 'ping' && !(await this.#isThere(record.path))) {
      return send(exchange, absent(request));
    }
    return this.#around.storage.forward(exchange, {
      headers: { ...this.#manners.headers?.(request, account) },
    });
  }

  #knownBy({ request }: Exchange): Known | undefined {
    const token = /^Bearer ([\x21-\x7e]+)$/.exec(request.headers.authorization ?? '')?.[1];
    const known = token === undefined ? undefined : this.#known.get(token);
    return known !== undefined && known.expiresAt > Date.now() ? known : undefined;
  }

  /** The first that a token does not reach. */
  async #missing({ account, scopes }: Known, { wanted }: FrontRequest): Promise<FrontScope | undefined> {
    const { scoped } = this.#manners.tokens;
    const granted = scoped ? scopes : await Promise.all(wanted.map((scope) => this.#granted(account, scope)));
    return wanted.find((scope) => !coversAll(granted, [scope]));
  }

  #challenge(exchange: Exchange, request: FrontRequest): void {
    const shown = exchange.request.headers.authorization !== undefined;
    const answer = registryError(401, 'UNAUTHORIZED', 'authentication required');
    const error = shown && this.#manners.tokens.scoped ? 'invalid_token' : undefined;
    send(exchange, { ...answer, headers: this.#challengeHeaders(request, error) });
  }

  #notCovered(exchange: Exchange, request: FrontRequest, missing: FrontScope): void {
    const { error, ...answer } = this.#manners.notCovered(missing);
    const headers = answer.status === 401 ? this.#challengeHeaders(request, error) : {};
    send(exchange, { ...answer, headers: { ...answer.headers, ...headers } });
  }

  #challengeHeaders({ wanted }: FrontRequest, error: string | undefined): Record<string, string> {
    const { realm, service, pingScope } = this.#manners;
    const scope = wanted.length > 0 ? wanted.map(printFrontScope).join(' ') : pingScope;
    const parameters = Object.entries({ realm, service, scope, error })
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${name}="${value}"`);
    return {
      'www-authenticate': `Bearer ${parameters.join(',')}`,
      'docker-distribution-api-version': 'registry/2.0',
    };
  }

  /** distribution `docs/content/spec/auth/token.md`: GET, for what all of these registries take. */
  async #token(exchange: Exchange): Promise<void> {
    const { record, url } = exchange;
    const shown = exchange.request.headers.authorization;
    const basic = parseBasic(shown);
    const texts = url.searchParams.getAll('scope').flatMap((text) => text.split(' '));
    const answer = await this.#tokenFor(record.method, url, texts, shown !== undefined, basic);
    this.logins.push({ username: basic?.username, scopes: texts, status: answer.status });
    send(exchange, answer);
  }

  async #tokenFor(
    method: string,
    url: URL,
    texts: readonly string[],
    shown: boolean,
    basic: { readonly username: string; readonly password: string } | undefined,
  ): Promise<FrontAnswer> {
    const { service, wrongLogin, nothingGranted } = this.#manners;
    if (method !== 'GET') return registryError(405, 'UNSUPPORTED', 'The operation is unsupported.');
    if (url.searchParams.get('service') !== service)
      return registryError(400, 'UNSUPPORTED', 'another service');
    const account = basic && this.#accounts.get(basic.username);
    if (shown && (account === undefined || account.password !== basic?.password)) {
      return wrongLogin(basic?.username ?? '');
    }
    if (account === undefined && texts.length === 0) {
      return registryError(401, 'UNAUTHORIZED', 'authentication required');
    }
    const { actions } = this.#manners.tokens;
    const asked = texts.map((text) => parseFrontScope(text, actions));
    const scopes = asked.filter((scope) => scope !== undefined);
    if (scopes.length < asked.length) {
      const unread = texts.filter((_, at) => asked[at] === undefined);
      return registryError(400, 'INVALID_REQUEST', `Unable to decode repository and actions: ${unread}`, {});
    }
    const granted = await Promise.all(scopes.map((scope) => this.#granted(account, scope)));
    if (
      nothingGranted !== undefined &&
      scopes.length > 0 &&
      granted.every(({ actions }) => actions.length === 0)
    ) {
      return nothingGranted;
    }
    return this.#issue(account, granted);
  }

  #issue(account: FrontAccount | undefined, scopes: readonly FrontScope[]): FrontAnswer {
    const { write, lifetime, fields } = this.#manners.tokens;
    const token = write?.(account) ?? randomBytes(24).toString('base64url');
    this.#known.set(token, { account, scopes, expiresAt: Date.now() + lifetime * 1000 });
    if (!this.tokens.includes(token)) this.tokens.push(token);
    const all = { token, access_token: token, expires_in: lifetime, issued_at: new Date().toISOString() };
    return { status: 200, body: Object.fromEntries(fields.map((name) => [name, all[name]])) };
  }

  async #granted(account: FrontAccount | undefined, scope: FrontScope): Promise<FrontScope> {
    const { type, name } = scope;
    const isPublic = this.#around.isPublic?.(name) ?? false;
    const may = [...(account?.may ?? []), ...(isPublic ? (['pull'] as const) : [])];
    const actions = type === 'registry' ? [] : scope.actions.filter((action) => may.includes(action));
    // Whoever is let push makes it so (quay `endpoints/v2/v2auth.py`).
    if (actions.includes('push')) this.#made.add(name);
    if (this.#manners.hidesAbsent && !(await this.#exists(name))) return { type, name, actions: [] };
    return { type, name, actions };
  }

  async #exists(repository: string): Promise<boolean> {
    return this.#made.has(repository) || (await this.#isThere(`/v2/${repository}/tags/list`));
  }

  /** Asks the storage: by GET for lists, which know no HEAD. */
  async #isThere(path: string): Promise<boolean> {
    const method = path.includes('/tags/list') ? 'GET' : 'HEAD';
    const answer = await fetch(`http://${this.#around.storage.host}${path}`, { method, headers: { accept } });
    await answer.body?.cancel();
    return answer.status === 200;
  }
}

const accept =
  '*/*, application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, ' +
  'application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json';

function send(exchange: Exchange, { status, body, headers }: FrontAnswer): void {
  if (typeof body === 'string') exchange.text(status, body, headers);
  else exchange.json(status, body, headers);
}
