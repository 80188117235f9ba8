import type { AuditEvent, ClientCredentials, RegistryOperation } from '../contracts/index.js';
import { errorTable, RegistryError } from '../errors.js';
import type { AccessRecord } from '../proxy/client-request.js';
import type { TokenRecord } from '../token/token-service.js';
import { ClientGone, CutByUs } from './client-gone.js';
import type { PageRecord } from './pages/page-record.js';
import type { PageName } from './pages/page-route.js';

/** How an exchange ended, and with whom. */
export interface Ending {
  /** 499 where the client had gone. */
  readonly status: number;
  /** Also after a good status, where the body failed. */
  readonly error?: unknown;
  readonly requestId: string;
  /** The client's IP address. */
  readonly address: string;
  /** The served host's. */
  readonly service: string;
  /** Undefined where it was not understood. */
  readonly shown: ClientCredentials['shown']['kind'] | 'refresh-token' | 'certificate' | undefined;
}

export interface RegistryExchange extends Ending {
  readonly record: AccessRecord;
  /** Undefined where the path is none of the registry API's. */
  readonly operation: RegistryOperation | undefined;
  readonly method: string | undefined;
  /** Of the body, sent and received. */
  readonly bytes: number;
}

export interface TokenExchange extends Ending {
  readonly record: TokenRecord;
}

export interface PageExchange extends Ending {
  readonly record: PageRecord;
}

type Members = { readonly [K in keyof AuditEvent]?: AuditEvent[K] | undefined };
type Subject = Pick<AuditEvent, 'event'> & Pick<Members, 'object'>;

/**
 * What the audit log says of a registry request.
 *
 * @returns undefined where it is no event: it asked what is there, opened or fed an upload, or greeted
 */
export function registryAuditEvent(exchange: RegistryExchange): AuditEvent | undefined {
  const { record, operation, bytes, error, status } = exchange;
  const { action, repository, tag, digest, mountedFrom, upstream, upstreamRepository, rule } = record;
  const target = {
    action: action || undefined,
    repository,
    tag,
    digest,
    mountedFrom,
    upstream,
    upstreamRepository,
    rules: rule === undefined ? undefined : [rule],
  };
  // The upstream is known only once the client was let in: what it refuses, it refuses to us.
  if (upstream === undefined && isRefusal(exchange)) {
    const object = operation === undefined || operation.kind === 'ping' ? undefined : operation.kind;
    return eventOf(exchange, { event: 'refusal', object }, 'refused', target);
  }
  if (!wasAllowed(exchange)) return undefined;
  const failed = error !== undefined || status >= 400;
  const subject = failed ? attempted(exchange) : done(exchange);
  if (subject === undefined) return undefined;
  const counted = subject.event === 'delete' ? {} : { bytes };
  return eventOf(exchange, subject, failed ? 'failed' : 'ok', { ...target, ...counted });
}

/**
 * What the audit log says of a token request.
 *
 * @returns undefined where it is no event: a greeting without credentials, or a request that makes no sense
 */
export function tokenAuditEvent(exchange: TokenExchange): AuditEvent | undefined {
  const { record, status } = exchange;
  const { service = exchange.service, granted, rules } = record;
  const object = 'token';
  if (isRefusal(exchange)) {
    return eventOf(exchange, { event: 'refusal', object }, 'refused', { service, rules });
  }
  if (status === 200) return eventOf(exchange, { event: 'login', object }, 'ok', { service, granted, rules });
  if (status >= 500) return eventOf(exchange, { event: 'login', object }, 'failed', { service, rules });
  return undefined;
}

/** What a page's request is to do, where that is an event. */
const pageEvents: { readonly [name in PageName]?: 'sign-in' | 'token-created' | 'token-revoked' } = {
  'sign-in': 'sign-in',
  callback: 'sign-in',
  'create-token': 'token-created',
  'revoke-token': 'token-revoked',
};

/**
 * What the audit log says of a page's request: a sign-in may have brought a first token with it.
 *
 * @returns nothing where it is no event: it looked at a page, signed out, or makes no sense (any more)
 */
export function pageAuditEvents(exchange: PageExchange): readonly AuditEvent[] {
  const { record, status } = exchange;
  const { page, hasSignedIn, token } = record;
  const event = pageEvents[page];
  const about = (one: AuditEvent['event'], result: AuditEvent['result'], of?: string) =>
    eventOf(exchange, { event: one, object: of === undefined ? undefined : 'token' }, result, { token: of });
  // What was done was done, also where the browser has gone meanwhile.
  if (hasSignedIn) {
    return [about('sign-in', 'ok'), ...(token === undefined ? [] : [about('token-created', 'ok', token)])];
  }
  if (event !== undefined && token !== undefined) return [about(event, 'ok', token)];
  if (isRefusal(exchange)) return [about(event ?? 'refusal', 'refused')];
  return event !== undefined && status >= 500 ? [about(event, 'failed')] : [];
}

/** A 401 to who has shown nothing is how the protocol begins. */
function isRefusal({ status, shown }: Ending): boolean {
  return status === 403 || status === 429 || (status === 401 && shown !== 'none');
}

/** Somebody who was let in may ask for what no route has. */
function wasAllowed({ record, error }: RegistryExchange): boolean {
  const isNowhere = error instanceof RegistryError && error.code === 'NAME_UNKNOWN';
  return record.upstream !== undefined || (record.principal !== undefined && isNowhere);
}

/** What a request was to do, whatever became of it. */
function attempted({ operation, method }: RegistryExchange): Subject | undefined {
  if (operation?.kind === 'upload') {
    const isWhole = method === 'PUT' || operation.digest !== undefined || operation.mount !== undefined;
    return { event: 'push', object: isWhole ? 'blob' : 'upload' };
  }
  if (operation?.kind !== 'manifest' && operation?.kind !== 'blob') return undefined;
  const { kind: object } = operation;
  if (method === 'GET') return { event: 'pull', object };
  if (method === 'PUT') return { event: 'push', object };
  return method === 'DELETE' ? { event: 'delete', object } : undefined;
}

/** The same of a request that went well: an upload is none before its blob is there. */
function done(exchange: RegistryExchange): Subject | undefined {
  const { operation, status } = exchange;
  return operation?.kind === 'upload' && status !== 201 ? undefined : attempted(exchange);
}

function eventOf(
  exchange: RegistryExchange | TokenExchange | PageExchange,
  { event, object }: Subject,
  result: AuditEvent['result'],
  more: Members,
): AuditEvent {
  const { record, requestId, address, service, status, error } = exchange;
  const { principal, user, ...known }: Pick<AccessRecord, 'principal' | 'verifier' | 'user'> = record;
  const ours = error instanceof RegistryError ? error : undefined;
  const verifier = known.verifier ?? ours?.verifier;
  const code = ours?.code ?? (status >= 500 ? 'UNKNOWN' : undefined);
  const about = { requestId, address, service, principal, verifier, user, object, status };
  const members: Members = { event, result, ...about, ...more, error: code, reason: reasonOf(error, status) };
  const told = Object.entries(members).filter(([, value]) => value !== undefined);
  return Object.fromEntries(told) as unknown as AuditEvent;
}

/**
 * Our own words only. What another's error says, or the causes of ours, goes to the log and not here: nobody knows what
 * is in it.
 */
function reasonOf(error: unknown, status: number): string | undefined {
  if (error === undefined) return undefined;
  if (error instanceof RegistryError) {
    const isTold = error.message !== errorTable[error.code].message;
    return error.reason ?? (isTold ? error.message : undefined);
  }
  if (error instanceof ClientGone || error instanceof CutByUs) return error.message;
  const what = status < 400 ? 'the transfer broke off' : 'it failed unexpectedly';
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code !== undefined && /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? `${what}: ${code}` : what;
}
