import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { parseBasic } from '../../../src/testing/basic-credentials.js';
import { type AcrAction, type AcrScope, AcrTokens } from './acr-tokens.js';
import type { Entra } from './azure-entra.js';
import { type StorageHost, startStorageHost } from './front-storage-host.js';
import type { Storage } from './storage.js';
import type { Exchange, World } from './world.js';

/** What a role lets do: AcrPull, AcrPush, AcrDelete. */
export type AcrRole = 'AcrPull' | 'AcrPush' | 'AcrDelete';

/** What it says instead at one of its endpoints. */
export interface AcrFault {
  readonly at: 'exchange' | 'token';
  readonly status: number;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One Azure Container Registry. */
export interface Acr {
  /** `contoso.azurecr.io`. */
  readonly host: string;
  readonly storageHost: StorageHost;
  /** By client ID. A role is looked up when a token is exchanged. */
  readonly roles: Map<string, readonly AcrRole[]>;
  /** The admin user, and tokens with scope maps: their passwords, and what they may do. */
  readonly users: Map<string, { readonly password: string; readonly may: readonly AcrAction[] }>;
  readonly tokens: AcrTokens;
  /** Exchanges that were answered, with their status. */
  readonly exchanges: { readonly tenant: string | null; readonly status: number }[];
  readonly tokenRequests: {
    readonly method: string;
    readonly scopes: readonly string[];
    readonly status: number;
  }[];
  /** False: `azureADAuthenticationAsArmPolicy` is disabled. */
  takesArmTokens: boolean;
  fault: AcrFault | undefined;
}

export interface AcrOptions {
  readonly host?: string;
  readonly entra: Entra;
  readonly storage?: Storage;
  /** Seconds of a refresh token. */
  readonly refreshLifetime?: number;
  /** A HEAD of a blob; which one depends on the client's way through Azure's front doors. */
  readonly head?: 'answered' | 'redirected';
}

const threeHours = 3 * 3600;
const help = 'visit https://aka.ms/acr/authorization for more information.';

/** Starts a registry at its login server, with its storage account (Azure/acr `docs/AAD-OAuth.md`). */
export function startAcr(world: World, options: AcrOptions): Acr {
  const { host = 'contoso.azurecr.io', entra, storage, refreshLifetime = threeHours } = options;
  const account = `${createHmac('sha256', 'account').update(host).digest('hex').slice(0, 12)}.blob.core.windows.net`;
  const acr: Acr = {
    host,
    storageHost: startStorageHost(world, storage ?? emptyStorage, {
      host: account,
      prefix: `/${randomBytes(6).toString('hex')}-${host.split('.')[0]}/docker/registry/v2/blobs/`,
    }),
    roles: new Map(),
    users: new Map(),
    tokens: new AcrTokens(host, refreshLifetime),
    exchanges: [],
    tokenRequests: [],
    takesArmTokens: true,
    fault: undefined,
  };
  world.host(host, (exchange) => {
    const { pathname } = exchange.url;
    if (pathname === '/oauth2/exchange') return answerExchange(acr, entra, exchange);
    if (pathname === '/oauth2/token') return answerToken(acr, exchange);
    return answerRegistry(acr, storage ?? emptyStorage, exchange, options.head ?? 'answered');
  });
  return acr;
}

const emptyStorage: Storage = {
  host: '',
  forward: async (exchange) => error(exchange, 404, 'NAME_UNKNOWN', 'repository name not known to registry'),
};

async function answerExchange(acr: Acr, entra: Entra, exchange: Exchange): Promise<void> {
  const form = new URLSearchParams(await exchange.readText());
  const done = (status: number, code: string, message: string) => {
    acr.exchanges.push({ tenant: form.get('tenant'), status });
    error(exchange, status, code, message);
  };
  const { fault } = acr;
  if (fault?.at === 'exchange') {
    acr.exchanges.push({ tenant: form.get('tenant'), status: fault.status });
    return exchange.text(fault.status, fault.body, fault.headers);
  }
  // Azure/acr#166: the wrong method is 404.
  if (exchange.record.method !== 'POST') return done(404, 'NOT_FOUND', 'not found');
  if (!isForm(exchange))
    return done(400, 'BAD_REQUEST', 'the content type is not application/x-www-form-urlencoded');
  if (form.get('grant_type') !== 'access_token')
    return done(400, 'BAD_REQUEST', 'grant_type is not supported');
  if (form.get('service') !== acr.host) return done(400, 'BAD_REQUEST', 'service is not this registry');
  const claims = entra.verify(form.get('access_token') ?? '');
  const audiences = [
    'https://containerregistry.azure.net',
    ...(acr.takesArmTokens ? ['https://management.azure.com'] : []),
  ];
  if (claims === undefined || !audiences.includes(String(claims.aud))) {
    return done(401, 'UNAUTHORIZED', 'token validation failed');
  }
  const tenant = form.get('tenant');
  if (tenant !== null && tenant !== entra.tenant) return done(401, 'UNAUTHORIZED', 'token validation failed');
  const who = String(claims.appid);
  const roles = acr.roles.get(who) ?? [];
  if (roles.length === 0) return done(401, 'UNAUTHORIZED', `authentication required, ${help}`);
  acr.exchanges.push({ tenant, status: 200 });
  exchange.json(200, { refresh_token: acr.tokens.refresh(who, actionsOf(roles)) });
}

const actionsByRole: Readonly<Record<AcrRole, readonly AcrAction[]>> = {
  AcrPull: ['pull', 'metadata_read', '*'],
  AcrPush: ['pull', 'metadata_read', '*', 'push', 'metadata_write'],
  AcrDelete: ['delete'],
};

function actionsOf(roles: readonly AcrRole[]): readonly AcrAction[] {
  return [...new Set(roles.flatMap((role) => actionsByRole[role]))];
}

async function answerToken(acr: Acr, exchange: Exchange): Promise<void> {
  const { method } = exchange.record;
  const body = await exchange.readText();
  const form = method === 'POST' ? new URLSearchParams(body) : exchange.url.searchParams;
  // GET repeats the parameter, POST separates by spaces; either takes both.
  const scopes = form
    .getAll('scope')
    .flatMap((text) => text.split(' '))
    .filter((text) => text !== '');
  const note = (status: number) => acr.tokenRequests.push({ method, scopes, status });
  const refuse = (status: number, code = 'UNAUTHORIZED', message = `authentication required, ${help}`) => {
    note(status);
    error(exchange, status, code, `${message} CorrelationId: ${randomUUID()}`);
  };
  const { fault } = acr;
  if (fault?.at === 'token') {
    note(fault.status);
    return exchange.text(fault.status, fault.body, fault.headers);
  }
  if (method !== 'GET' && !(method === 'POST' && isForm(exchange)))
    return refuse(404, 'NOT_FOUND', 'not found');
  if (form.get('service') !== acr.host) return refuse(400, 'BAD_REQUEST', 'service is not this registry');
  const may = method === 'GET' ? mayByBasic(acr, exchange) : mayByForm(acr, form);
  if (may === undefined) return refuse(401);
  const granted = scopes.flatMap((text) => grant(text, may));
  note(200);
  // Neither `token` nor `expires_in`: how long it lasts says the token alone.
  exchange.json(200, { access_token: acr.tokens.access(granted) });
}

/** Less than was asked is no error: the registry says `insufficient_scope` to what it is used for. */
function grant(text: string, may: readonly AcrAction[]): readonly AcrScope[] {
  const [type = '', name = '', actions = '', ...rest] = text.split(':');
  if (rest.length > 0 || (type !== 'repository' && type !== 'registry')) return [];
  const granted = actions
    .split(',')
    .filter((action): action is AcrAction => may.includes(action as AcrAction));
  return granted.length === 0 ? [] : [{ type, name, actions: granted }];
}

function mayByForm(acr: Acr, form: URLSearchParams): readonly AcrAction[] | undefined {
  if (form.get('grant_type') !== 'refresh_token') return undefined;
  return acr.tokens.refreshed(form.get('refresh_token') ?? '');
}

const nobody = '00000000-0000-0000-0000-000000000000';

function mayByBasic(acr: Acr, exchange: Exchange): readonly AcrAction[] | undefined {
  const { username = '', password = '' } = parseBasic(exchange.request.headers.authorization) ?? {};
  if (username === nobody) return acr.tokens.refreshed(password);
  const user = acr.users.get(username);
  return user !== undefined && user.password === password ? user.may : undefined;
}

async function answerRegistry(
  acr: Acr,
  storage: Storage,
  exchange: Exchange,
  head: 'answered' | 'redirected',
): Promise<void> {
  const { url, record, request } = exchange;
  const wanted = wantedBy(record.method, url);
  if (wanted === undefined) return exchange.text(404, '404 page not found\n');
  const [scheme = '', token = ''] = (request.headers.authorization ?? '').split(' ');
  if (/^basic$/i.test(scheme)) {
    const shown = parseBasic(exchange.request.headers.authorization);
    const user = acr.users.get(shown?.username ?? '');
    const isRight = user !== undefined && user.password === shown?.password;
    // Azure/acr#651, #98: another kind of challenge to a wrong password, and a refresh token is one.
    if (!isRight || !wanted.every(({ actions }) => actions.every((action) => user.may.includes(action)))) {
      return error(exchange, 401, 'UNAUTHORIZED', `authentication required, ${help}`, {
        headers: { 'www-authenticate': 'Basic realm="Azure Container Registry"' },
      });
    }
  } else {
    const granted = /^bearer$/i.test(scheme) ? acr.tokens.granted(token) : undefined;
    if (granted === undefined)
      return challenge(acr, exchange, wanted, scheme === '' ? undefined : 'invalid_token');
    if (!covers(granted, wanted)) return challenge(acr, exchange, wanted, 'insufficient_scope');
  }
  const isBlob = /\/blobs\/sha256:[0-9a-f]{64}$/.test(url.pathname);
  if (isBlob && (record.method === 'GET' || (record.method === 'HEAD' && head === 'redirected'))) {
    const location = acr.storageHost.sign(url.pathname).href;
    const digest = url.pathname.slice(url.pathname.lastIndexOf('/') + 1);
    if (await isThere(storage, url.pathname)) {
      exchange.response
        .writeHead(307, { location, 'docker-content-digest': digest, 'content-length': 0 })
        .end();
      return;
    }
  }
  // A path alone, not a URL.
  return storage.forward(exchange, { location: (stored) => `${stored.pathname}${stored.search}` });
}

async function isThere({ host }: Storage, path: string): Promise<boolean> {
  return host !== '' && (await fetch(`http://${host}${path}`, { method: 'HEAD' })).status === 200;
}

/** @returns undefined for a path that is none of the registry's */
function wantedBy(method: string, { pathname, searchParams }: URL): readonly AcrScope[] | undefined {
  if (pathname === '/v2/') return [];
  if (pathname === '/v2/_catalog') return [{ type: 'registry', name: 'catalog', actions: ['*'] }];
  const match = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/(.+)$/.exec(pathname);
  if (match === null) return undefined;
  const [, name = '', place, rest = ''] = match;
  const own = (...actions: AcrAction[]): AcrScope => ({ type: 'repository', name, actions });
  if (place === 'tags') return [own('metadata_read')];
  const uploads = place === 'blobs' && rest.startsWith('uploads/');
  if ((method === 'GET' || method === 'HEAD') && !uploads) return [own('pull')];
  if (method === 'DELETE' && !uploads) return [own('delete')];
  const from = method === 'POST' ? searchParams.get('from') : null;
  return [own('pull', 'push'), ...(from === null ? [] : [{ ...own('pull'), name: from }])];
}

function covers(granted: readonly AcrScope[], wanted: readonly AcrScope[]): boolean {
  return wanted.every(({ type, name, actions }) =>
    actions.every((action) =>
      granted.some((one) => one.type === type && one.name === name && one.actions.includes(action)),
    ),
  );
}

function challenge(
  { host }: Acr,
  exchange: Exchange,
  wanted: readonly AcrScope[],
  problem: 'invalid_token' | 'insufficient_scope' | undefined,
): void {
  const scope = wanted.map(({ type, name, actions }) => `${type}:${name}:${actions.join(',')}`).join(' ');
  const parameters = Object.entries({
    realm: `https://${host}/oauth2/token`,
    service: host,
    scope,
    error: problem,
  })
    .filter(([, value]) => value)
    .map(([name, value]) => `${name}="${value}"`);
  const detail = wanted.flatMap(({ type, name, actions }) =>
    actions.map((Action) => ({ Type: type, Name: name, Action })),
  );
  error(exchange, 401, 'UNAUTHORIZED', `authentication required, ${help}`, {
    headers: { 'www-authenticate': `Bearer ${parameters.join(',')}` },
    ...(detail.length > 0 && { detail }),
  });
}

function isForm({ request }: Exchange): boolean {
  return /^application\/x-www-form-urlencoded\b/.test(request.headers['content-type'] ?? '');
}

function error(
  exchange: Exchange,
  status: number,
  code: string,
  message: string,
  { headers = {}, detail }: { headers?: Record<string, string>; detail?: unknown } = {},
): void {
  const body = { errors: [{ code, message, ...(detail !== undefined && { detail }) }] };
  exchange.json(status, body, {
    'docker-distribution-api-version': 'registry/2.0',
    'x-ms-correlation-request-id': randomUUID(),
    ...headers,
  });
}
