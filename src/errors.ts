/**
 * One row per error a client can see: its HTTP status, its gRPC status and its public message.
 *
 * Codes and HTTP statuses: OCI distribution-spec v1.1 "Error Codes", and distribution's
 * `registry/api/errcode`. gRPC statuses: google.golang.org/grpc/codes.
 */
export const errorTable = {
  UNAUTHORIZED: { http: 401, grpc: 16, message: 'authentication required' },
  DENIED: { http: 403, grpc: 7, message: 'requested access to the resource is denied' },
  NAME_INVALID: { http: 400, grpc: 3, message: 'invalid repository name' },
  NAME_UNKNOWN: { http: 404, grpc: 5, message: 'repository name not known to registry' },
  TAG_INVALID: { http: 400, grpc: 3, message: 'invalid tag' },
  MANIFEST_UNKNOWN: { http: 404, grpc: 5, message: 'manifest unknown' },
  MANIFEST_INVALID: { http: 400, grpc: 3, message: 'manifest invalid' },
  MANIFEST_BLOB_UNKNOWN: { http: 404, grpc: 5, message: 'manifest references an unknown blob' },
  BLOB_UNKNOWN: { http: 404, grpc: 5, message: 'blob unknown to registry' },
  BLOB_UPLOAD_UNKNOWN: { http: 404, grpc: 5, message: 'blob upload unknown to registry' },
  BLOB_UPLOAD_INVALID: { http: 400, grpc: 3, message: 'blob upload invalid' },
  SIZE_INVALID: { http: 400, grpc: 3, message: 'provided length did not match content length' },
  DIGEST_INVALID: { http: 400, grpc: 3, message: 'provided digest did not match uploaded content' },
  RANGE_INVALID: { http: 416, grpc: 11, message: 'invalid content range' },
  UNSUPPORTED: { http: 405, grpc: 12, message: 'the operation is unsupported' },
  TOOMANYREQUESTS: { http: 429, grpc: 8, message: 'too many requests' },
  UNAVAILABLE: { http: 503, grpc: 14, message: 'service unavailable' },
  UNKNOWN: { http: 500, grpc: 2, message: 'unknown error' },
} as const satisfies Record<string, { http: number; grpc: number; message: string }>;

export type ErrorCode = keyof typeof errorTable;

export interface RegistryErrorOptions {
  /** What the client may be told beyond the table's message. Never an internal message, never a secret. */
  readonly detail?: Readonly<Record<string, unknown>>;
  /** Replaces the table's message towards the client. */
  readonly message?: string;
  /** For operators: why it happened. Goes to the log only; it may name hosts, never a secret. */
  readonly reason?: string;
  /** The error behind it; kept for the log, off the wire. */
  readonly cause?: unknown;
  /** The HTTP status to answer instead of the table's: an upstream's own 4xx that is passed through. */
  readonly status?: number;
  /** Seconds for `Retry-After`. */
  readonly retryAfter?: number;
  /** Of a TOOMANYREQUESTS that is passed on: the upstream's `RateLimit-*` headers, by lower-case name. */
  readonly rateLimit?: ReadonlyMap<string, string>;
  /** `error` parameter of the Bearer challenge (RFC 6750 section 3.1), for UNAUTHORIZED. */
  readonly bearerError?: 'invalid_token' | 'insufficient_scope';
  /**
   * For operators: the user name that was shown is one this verifier knows, so that log and audit may tell it. People
   * type passwords there: true only where the name was found, not where a server would say the same of any name.
   */
  readonly knownUser?: boolean;
  /** For UNAVAILABLE: a server refused a login, and did not say for whose sake. It counts as a wrong password does. */
  readonly countsAsGuess?: boolean;
  /**
   * For UNAUTHORIZED: what was shown is signed, and nobody guesses a signature. It does not count as a wrong password:
   * behind one address there may be a thousand machines with the same user name, and one of them refused.
   */
  readonly isProof?: boolean;
  /** For operators: the id of the verifier it comes from. */
  readonly verifier?: string;
}

/** The only error that reaches a client with its own words. Anything else is a bug and becomes a bare UNKNOWN. */
export class RegistryError extends Error {
  readonly code: ErrorCode;
  readonly detail: Readonly<Record<string, unknown>> | undefined;
  readonly reason: string | undefined;
  readonly status: number;
  readonly retryAfter: number | undefined;
  readonly rateLimit: ReadonlyMap<string, string> | undefined;
  readonly bearerError: 'invalid_token' | 'insufficient_scope' | undefined;
  readonly knownUser: boolean;
  readonly countsAsGuess: boolean;
  readonly isProof: boolean;
  readonly verifier: string | undefined;
  readonly #options: RegistryErrorOptions;

  constructor(code: ErrorCode, options: RegistryErrorOptions = {}) {
    super(
      options.message ?? errorTable[code].message,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = 'RegistryError';
    this.code = code;
    this.detail = options.detail;
    this.reason = options.reason;
    this.status = options.status ?? errorTable[code].http;
    this.retryAfter = options.retryAfter;
    this.rateLimit = options.rateLimit;
    this.bearerError = options.bearerError;
    this.knownUser = options.knownUser ?? false;
    this.countsAsGuess = options.countsAsGuess ?? false;
    this.isProof = options.isProof ?? false;
    this.verifier = options.verifier;
    this.#options = options;
  }

  /** The same, said of the verifier it comes from: a new one, for a driver may throw one and the same again and again. */
  ofVerifier(verifier: string): RegistryError {
    return new RegistryError(this.code, { ...this.#options, verifier });
  }

  /** The same, with more before its reason: what led to it. */
  because(reason: string): RegistryError {
    const whole = this.reason === undefined ? reason : `${reason}: ${this.reason}`;
    return new RegistryError(this.code, { ...this.#options, reason: whole });
  }
}

/** A refusal, said of a user name that was found; anything else as it is. */
export function ofKnownUser(error: unknown): unknown {
  if (!(error instanceof RegistryError) || error.code !== 'UNAUTHORIZED') return error;
  const { reason, cause } = error;
  return new RegistryError('UNAUTHORIZED', { ...(reason && { reason }), cause, knownUser: true });
}

/** True for `ENOENT` and its like: an error of Node's with this `code`. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code;
}

/** One line for a log: the message and the messages of its causes, without stacks. Never throws. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let e: unknown = error, depth = 0; e !== undefined && e !== null && depth < 6; depth++) {
    if (!(e instanceof Error)) {
      parts.push(typeof e === 'object' || typeof e === 'function' ? 'something that is no error' : String(e));
      break;
    }
    const reason = e instanceof RegistryError && e.reason ? `${e.code}: ${e.reason}` : e.message;
    const code = (e as NodeJS.ErrnoException).code;
    parts.push(reason || (typeof code === 'string' ? code : e.name));
    e = e instanceof AggregateError && e.cause === undefined ? e.errors[0] : e.cause;
  }
  return parts
    .filter((part, i) => !parts.slice(0, i).some((earlier) => says(earlier, part)))
    .map(onOneLine)
    .join(': ');
}

/** True where `text` holds `part` as words of its own: who wraps an error often repeats its message. */
function says(text: string, part: string): boolean {
  if (part === '') return true;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) {
    if (!isInWord(text, at) && !isInWord(text, at + part.length)) return true;
  }
  return false;
}

/** True where a word goes on over this place. */
function isInWord(text: string, at: number): boolean {
  const isWord = (character: string | undefined) =>
    character !== undefined && /[\p{L}\p{N}_]/u.test(character);
  return isWord(text[at - 1]) && isWord(text[at]);
}

/** A schema's error and an answer's body come in several lines. */
function onOneLine(text: string): string {
  return text
    .split(/[\r\n\u2028\u2029]+/)
    .map((line) => line.trim())
    .join(' ')
    .trim();
}
