import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { parseBasic } from '../../../src/testing/basic-credentials.js';
import type { GoogleAccounts } from './google-token-endpoint-accounts.js';
import type { Storage } from './storage.js';
import type { Exchange, World } from './world.js';

// gcr.io and LOCATION-docker.pkg.dev are one service today: Artifact Registry. What they do differently from others, as
// measured by those who met it: the challenge of /v2/ names no service on pkg.dev (apple/container#2274); a blob's GET is
// a 302 to a relative path of the same host (sonatype/nexus-public#1061), which needs no Authorization and ignores one;
// an upload goes on outside /v2, where the path itself is the secret (podman-container-tools/skopeo#1101).

export type GoogleRole = 'reader' | 'writer';

/** A front as Google's, before a real registry. */
export interface GoogleRegistry {
  readonly hosts: readonly string[];
  /** What accounts may, by e-mail address: `roles/artifactregistry.reader`, `.writer`. `allUsers` is everybody. */
  readonly roles: Map<string, GoogleRole>;
  /** Every token of its own that it gave out. */
  readonly given: readonly string[];
  /** Seconds; 3600 at first. */
  tokenLife: number;
  /** No token of its own that it gave out is good any more. */
  revokeTokens(): void;
}

interface RegistryToken {
  readonly account: string;
  readonly expiresAt: number;
}

/** What one of its long paths stands for. */
interface Session {
  readonly path: string;
  readonly patched: boolean;
}

export function startGoogleRegistry(
  world: World,
  accounts: GoogleAccounts,
  storage: Storage,
  hosts: readonly string[] = ['gcr.io', 'europe-west1-docker.pkg.dev'],
): GoogleRegistry {
  const tokens = new Map<string, RegistryToken>();
  const sessions = new Map<string, Session>();
  const given: string[] = [];
  const registry: GoogleRegistry = {
    ...{ hosts, roles: new Map(), given, tokenLife: 3600 },
    revokeTokens: () => tokens.clear(),
  };
  const front = new Front({ registry, accounts, storage, tokens, sessions, given });
  world.host(hosts, (exchange) => front.answer(exchange));
  return registry;
}

interface FrontParts {
  readonly registry: GoogleRegistry;
  readonly accounts: GoogleAccounts;
  readonly storage: Storage;
  readonly tokens: Map<string, RegistryToken>;
  readonly sessions: Map<string, Session>;
  readonly given: string[];
}

class Front {
  readonly #p: FrontParts;

  constructor(parts: FrontParts) {
    this.#p = parts;
  }

  async answer(exchange: Exchange): Promise<void> {
    const { url, record } = exchange;
    if (url.pathname === '/v2/token') return this.#giveToken(exchange);
    if (url.pathname.startsWith('/artifacts-downloads/')) return this.#download(exchange);
    if (url.pathname.startsWith('/artifacts-uploads/')) return this.#upload(exchange);
    const account = this.#accountOf(record.headers.authorization);
    if (account === undefined) return challenge(exchange);
    if (url.pathname === '/v2/') return exchange.json(200, {}, version);
    const name = /^\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(url.pathname)?.[1];
    if (name === undefined) return refuse(exchange, 404, 'NAME_UNKNOWN', 'Not found');
    const writes = !['GET', 'HEAD'].includes(record.method);
    if (!this.#may(account, writes)) return refuse(exchange, 403, 'DENIED', denied(name, writes));
    return this.#serve(exchange, name);
  }

  async #serve(exchange: Exchange, name: string): Promise<void> {
    const { url, record } = exchange;
    if (record.method === 'GET' && url.pathname.includes('/blobs/')) return this.#redirect(exchange, name);
    const location = (stored: URL) => {
      const path = `${stored.pathname}${stored.search}`;
      return stored.pathname.includes('/blobs/uploads/') ? this.#session(name, path, false) : path;
    };
    return this.#p.storage.forward(exchange, { location });
  }

  /** Where there is no such blob, the registry itself says so. */
  async #redirect(exchange: Exchange, name: string): Promise<void> {
    const { url } = exchange;
    if ((await statusOf(this.#p.storage.host, url.pathname)) !== 200)
      return this.#p.storage.forward(exchange);
    const id = this.#remember(url.pathname, false);
    const location = `/artifacts-downloads/${placeOf(name)}/downloads/${id}`;
    exchange.text(302, `<a href="${location}">Found</a>.`, { ...version, location });
  }

  async #download(exchange: Exchange): Promise<void> {
    const session = this.#p.sessions.get(exchange.url.pathname.split('/').at(-1) ?? '');
    if (session === undefined) return refuse(exchange, 404, 'BLOB_UNKNOWN', 'Not found');
    return this.#p.storage.forward(exchange, { path: session.path });
  }

  /** Chunks are not for Artifact Registry (cloud.google.com/artifact-registry/docs/reference/docker-api): one PATCH, or none. */
  async #upload(exchange: Exchange): Promise<void> {
    const { url, record } = exchange;
    const session = this.#p.sessions.get(url.pathname.split('/').at(-1) ?? '');
    if (session === undefined) return refuse(exchange, 404, 'BLOB_UPLOAD_UNKNOWN', 'Not found');
    const patches = record.method === 'PATCH';
    if (patches && (session.patched || record.headers['content-range'] !== undefined)) {
      return refuse(exchange, 400, 'UNSUPPORTED', 'Chunked uploads are not supported.');
    }
    const path = `${session.path}${url.search === '' ? '' : `&${url.search.slice(1)}`}`;
    const name = /^\/v2\/(.+)\/blobs\//.exec(session.path)?.[1] ?? '';
    const location = (stored: URL) => {
      const next = `${stored.pathname}${stored.search}`;
      return stored.pathname.includes('/blobs/uploads/') ? this.#session(name, next, patches) : next;
    };
    return this.#p.storage.forward(exchange, { path, location });
  }

  #session(name: string, path: string, patched: boolean): string {
    return `/artifacts-uploads/${placeOf(name)}/uploads/${this.#remember(path, patched)}`;
  }

  #remember(path: string, patched: boolean): string {
    const id = randomBytes(96).toString('base64url');
    this.#p.sessions.set(id, { path, patched });
    return id;
  }

  #giveToken(exchange: Exchange) {
    const { authorization } = exchange.record.headers;
    if (exchange.record.method !== 'GET') return refuse(exchange, 404, 'UNSUPPORTED', 'Not found');
    const account = authorization === undefined ? 'allUsers' : this.#ofBasic(authorization);
    if (account === undefined) {
      return refuse(
        exchange,
        401,
        'UNAUTHORIZED',
        'authentication failed: No valid credential was supplied.',
      );
    }
    for (const scope of exchange.url.searchParams.getAll('scope')) {
      const [type, name = '', actions = ''] = scope.split(':');
      const writes = actions.split(',').some((action) => action !== 'pull');
      if (type === 'repository' && !this.#may(account, writes)) {
        return refuse(exchange, 403, 'DENIED', denied(name, writes));
      }
    }
    const token = randomBytes(72).toString('base64url');
    const { tokenLife } = this.#p.registry;
    this.#p.tokens.set(token, { account, expiresAt: Date.now() + tokenLife * 1000 });
    this.#p.given.push(token);
    exchange.json(200, { token, expires_in: tokenLife, issued_at: new Date().toISOString() });
  }

  #accountOf(authorization = ''): string | undefined {
    if (/^Basic /i.test(authorization)) return this.#ofBasic(authorization);
    const found = this.#p.tokens.get(authorization.replace(/^Bearer /i, ''));
    return found !== undefined && found.expiresAt > Date.now() ? found.account : undefined;
  }

  /** cloud.google.com/artifact-registry/docs/docker/authentication */
  #ofBasic(authorization: string): string | undefined {
    const { username, password = '' } = parseBasic(authorization) ?? {};
    switch (username) {
      case 'oauth2accesstoken':
        return this.#p.accounts.accountOf(password);
      case '_json_key':
        return this.#p.accounts.ownerOfKey(password);
      case '_json_key_base64':
        return this.#p.accounts.ownerOfKey(Buffer.from(password, 'base64').toString('utf8'));
      default:
        return undefined;
    }
  }

  #may(account: string, writes: boolean): boolean {
    const roles = [this.#p.registry.roles.get(account), this.#p.registry.roles.get('allUsers')];
    return roles.includes('writer') || (!writes && roles.includes('reader'));
  }
}

const version = { 'docker-distribution-api-version': 'registry/2.0' };

/** On pkg.dev a ping is told no service; gcr.io has always told one. */
function challenge(exchange: Exchange): void {
  const { url } = exchange;
  const [, name] = /^\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(url.pathname) ?? [];
  const action = ['GET', 'HEAD'].includes(exchange.record.method) ? 'pull' : 'push,pull';
  const parameters = [
    `realm="https://${url.host}/v2/token"`,
    ...(name !== undefined || url.host.endsWith('gcr.io') ? [`service="${url.host}"`] : []),
    ...(name === undefined ? [] : [`scope="repository:${name}:${action}"`]),
  ];
  const headers = { ...version, 'www-authenticate': `Bearer ${parameters.join(',')}` };
  const errors = [{ code: 'UNAUTHORIZED', message: 'Unauthorized.' }];
  exchange.json(401, { errors }, headers);
}

function refuse(exchange: Exchange, status: number, code: string, message: string): void {
  exchange.json(status, { errors: [{ code, message }] }, version);
}

function denied(name: string, writes: boolean): string {
  const permission = `artifactregistry.repositories.${writes ? 'uploadArtifacts' : 'downloadArtifacts'}`;
  return `Permission "${permission}" denied on resource "projects/${name.split('/')[0]}" (or it may not exist)`;
}

/** `PROJECT/REPOSITORY/IMAGE` of pkg.dev, and `PROJECT/IMAGE` of gcr.io. */
function placeOf(name: string): string {
  const [project, repository = ''] = name.split('/');
  return `namespaces/${project}/repositories/${repository}`;
}

function statusOf(host: string, path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`http://${host}${path}`, { method: 'HEAD', agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    request.once('error', reject).end();
  });
}
