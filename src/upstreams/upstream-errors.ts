import type { RegistryMethod, RegistryOperation, RegistryRequest } from '../contracts/index.js';
import { type ErrorCode, errorTable, RegistryError, type RegistryErrorOptions } from '../errors.js';
import { readBounded } from '../protocol/read-bounded.js';
import { cut } from './bodies.js';
import { type Hidden, publicMessage } from './public-message.js';
import type { Answer } from './transport.js';

const maxErrorBody = 64 * 1024;
const errorBodyTime = 10_000;
const maxRetryAfter = 86_400;

/** We are let in, and the repository itself is refused to us: to clients the same as one that does not exist. */
export class RepositoryRefused extends RegistryError {
  constructor(reason: string, message?: string) {
    super('NAME_UNKNOWN', { reason, ...(message !== undefined && { message }) });
  }
}

/** The registry itself says that it has no such repository: not a gateway's page, and not what we make of a bare 404. */
export class RepositoryMissing extends RegistryError {
  constructor(options: RegistryErrorOptions) {
    super('NAME_UNKNOWN', options);
  }
}

/** Our own codes for "authenticate" and "broken" are never taken from an upstream. */
const ownCodes: readonly ErrorCode[] = ['UNAUTHORIZED', 'UNAVAILABLE', 'UNKNOWN'];

/**
 * The error for an upstream's answer that is neither a success nor about our credentials. Reads the body away.
 *
 * @param now milliseconds since the epoch, for a Retry-After that is a date
 */
export async function answerError(
  answer: Answer,
  { method, operation }: Pick<RegistryRequest, 'method' | 'operation'>,
  hidden: Hidden,
  now: number,
): Promise<RegistryError> {
  const { status } = answer;
  const wait = retryAfter(answer.headers.get('retry-after'), now);
  const options = wait === undefined ? {} : { retryAfter: wait };
  if (status < 400 || status >= 500 || status === 407 || status === 408 || operation.kind === 'ping') {
    cut(answer.body);
    if (status === 429) return new RegistryError('TOOMANYREQUESTS', { ...options, ...rateLimit(answer) });
    return new RegistryError('UNAVAILABLE', { ...options, reason: `the upstream answers ${status}` });
  }
  const theirs = await readError(answer);
  const { code } = theirs;
  // The answer to a HEAD has no body to tell by.
  const foreign = !theirs.isRegistryError && method !== 'HEAD';
  const what = foreign ? ' without a registry error' : code === undefined ? '' : ` ${code}`;
  const reason = `the upstream answers ${status}${what}`;
  // Nothing a read of ours can be blamed for: a gateway, a port for TLS, a host that is no registry.
  if (status === 400 && foreign && method === 'GET') {
    return new RegistryError('UNAVAILABLE', { ...options, reason });
  }
  if (status === 429)
    return new RegistryError('TOOMANYREQUESTS', { ...options, ...rateLimit(answer), reason });
  if (status === 416) return new RegistryError('RANGE_INVALID', { reason });
  if (status === 404) {
    if (code === 'NAME_UNKNOWN') return new RepositoryMissing({ ...options, reason });
    const known = code !== undefined && errorTable[code].http === 404;
    return new RegistryError(known ? code : unknownCode(operation, method), { ...options, reason });
  }
  const message = ourWords.includes(status) ? undefined : publicMessage(theirs.message, hidden);
  const said = { ...options, reason, status, ...(message !== undefined && { message }) };
  if (code !== undefined) return new RegistryError(code, said);
  switch (status) {
    case 405:
      return new RegistryError('UNSUPPORTED', said);
    case 413:
      return new RegistryError('SIZE_INVALID', { message: 'the registry takes nothing this large', ...said });
    default:
      return new RegistryError('UNKNOWN', { message: `the registry answers ${status}`, ...said });
  }
}

/** Codes of a 403 that may be about access; those of a 403 that is not have their own. */
const accessCodes: readonly (ErrorCode | undefined)[] = [undefined, 'DENIED', 'NAME_UNKNOWN'];
/** Harbor: "will exceed the configured upper limit"; DigitalOcean: "registry contains 1 repositories, limit is 1". */
const quotaWords = /\b(?:quota|exceed\w*|limit\w*)\b/i;
const immutableWords = /\bimmutable\b/i;

/**
 * A 403 to a write that does not mean that we may not write: registries answer a full quota, or a tag that must not
 * change, with the same status. Reads the body away.
 *
 * @returns undefined where it may be about access
 */
export async function limitError(answer: Answer, hidden: Hidden): Promise<RegistryError | undefined> {
  const { code, message } = await readError(answer);
  const own = ownLimitWords(message ?? '');
  if (accessCodes.includes(code) && own === undefined) return undefined;
  return new RegistryError(code === undefined || code === 'NAME_UNKNOWN' ? 'DENIED' : code, {
    status: 403,
    reason: `the upstream answers 403 to a write: a limit of its own`,
    message: publicMessage(message, hidden) ?? own ?? 'the registry refuses it for a limit of its own',
  });
}

/** What it is about, where it must not be said in the upstream's words. @returns undefined where it is about neither */
function ownLimitWords(message: string): string | undefined {
  if (immutableWords.test(message)) return 'the registry lets nobody change this tag';
  return quotaWords.test(message) ? "the registry's quota or limit is exceeded" : undefined;
}

/** What an upstream says about access, and about what is not there, names accounts and buckets: the table's text goes. */
const ourWords: readonly number[] = [401, 403];

function unknownCode(operation: RegistryOperation, method: RegistryMethod): ErrorCode {
  switch (operation.kind) {
    case 'manifest':
      return method === 'PUT' ? 'NAME_UNKNOWN' : 'MANIFEST_UNKNOWN';
    case 'blob':
      return 'BLOB_UNKNOWN';
    case 'upload':
      return operation.session === undefined ? 'NAME_UNKNOWN' : 'BLOB_UPLOAD_UNKNOWN';
    default:
      return 'NAME_UNKNOWN';
  }
}

interface ForeignError {
  /** It is in the specification's form, whatever its code. */
  readonly isRegistryError: boolean;
  readonly code?: ErrorCode;
  readonly message?: string;
}

/** OCI distribution-spec v1.1, "Error Codes": the first of `errors`. */
async function readError(answer: Answer): Promise<ForeignError> {
  let first: unknown;
  try {
    const bytes = await readBounded(answer.body, maxErrorBody, errorBodyTime);
    const document: unknown = JSON.parse(bytes?.toString('utf8') ?? '');
    first = (document as { errors?: unknown[] } | null)?.errors?.[0];
  } catch {
    return { isRegistryError: false }; // a load balancer's HTML page, or nothing
  }
  if (typeof first !== 'object' || first === null) return { isRegistryError: false };
  const { code, message } = first as { code?: unknown; message?: unknown };
  return {
    isRegistryError: typeof code === 'string',
    ...(typeof code === 'string' && isForeignCode(code) && { code }),
    ...(typeof message === 'string' && message !== '' && { message }),
  };
}

function isForeignCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorTable, code) && !ownCodes.includes(code as ErrorCode);
}

/** Docker Hub's `100;w=21600`: whose limit it is, `docker-ratelimit-source` tells, which stays here. */
function rateLimit({ headers }: Answer): { readonly rateLimit?: ReadonlyMap<string, string> } {
  const told = ['ratelimit-limit', 'ratelimit-remaining'].flatMap((name): [string, string][] => {
    const value = headers.get(name);
    return value !== undefined && /^[\x20-\x7e]{1,100}$/.test(value) ? [[name, value]] : [];
  });
  return told.length === 0 ? {} : { rateLimit: new Map(told) };
}

/** RFC 9110 section 10.2.3: seconds or a date. @returns seconds, at most a day */
export function retryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  const seconds = /^\d{1,9}$/.test(text) ? Number(text) : Math.ceil((Date.parse(text) - now) / 1000);
  if (!Number.isFinite(seconds)) return undefined;
  return Math.min(Math.max(seconds, 0), maxRetryAfter);
}
