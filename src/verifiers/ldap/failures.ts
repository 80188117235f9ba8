import { ResultCodeError } from 'ldapts';
import { describeError, RegistryError } from '../../errors.js';
import { connectionHint } from '../../outgoing/connection-hint.js';

/** A server did not answer: it is down, its TLS failed, it was too slow, it cut the connection. Another one may. */
export class NoAnswer extends Error {
  /** @param server `host:port` */
  constructor(server: string, cause: unknown) {
    super(`no answer from ${server}: ${hintOf(cause)}`, { cause });
    this.name = 'NoAnswer';
  }
}

/** What to do about it where that is known, else what happened. */
function hintOf(cause: unknown): string {
  const hint = connectionHint(cause);
  if (hint !== undefined) return hint.replace('http://', 'ldap://');
  return describeError(cause);
}

/** Result codes of RFC 4511 appendix A.1 that are told apart. */
const codes = {
  sizeLimit: 4,
  noSuchObject: 32,
  invalidCredentials: 49,
  insufficientAccess: 50,
  busy: 51,
  unavailable: 52,
} as const;

const names: Readonly<Record<number, string>> = {
  1: 'operations error',
  2: 'protocol error',
  3: 'time limit exceeded',
  4: 'size limit exceeded',
  7: 'authentication method not supported',
  8: 'stronger authentication required: use ldaps:// or startTls',
  10: 'a referral to another server; referrals are not followed',
  11: 'administrative limit exceeded',
  13: 'confidentiality required: use ldaps:// or startTls',
  19: 'constraint violation',
  32: 'no such object',
  34: 'invalid DN syntax',
  48: 'inappropriate authentication',
  49: 'invalid credentials',
  50: 'insufficient access rights',
  51: 'busy',
  52: 'unavailable',
  53: 'unwilling to perform',
};

function codeOf(error: unknown): number | undefined {
  return error instanceof ResultCodeError ? error.code : undefined;
}

/** True where the server answered, and its answer is no. */
export function isResult(error: unknown): boolean {
  return codeOf(error) !== undefined;
}

/** The server's own words stay in the cause: the log has them, nobody else. */
function codeText(code: number): string {
  return `${names[code] ?? 'result code'} (${code})`;
}

/** True where another server may well answer the same question. */
export function isServerFailure(error: unknown): boolean {
  const code = codeOf(error);
  return error instanceof NoAnswer || code === codes.busy || code === codes.unavailable;
}

/** True where the directory has more entries than it gives. */
export function isTruncated(error: unknown): boolean {
  return codeOf(error) === codes.sizeLimit;
}

/** What a bind answers where the user may not in; any other code says that the server cannot tell. */
const refusals: Readonly<Record<number, string>> = {
  // 389 Directory Server: too many wrong passwords.
  19: 'the directory refused the bind: constraint violation (19), the account may be locked',
  32: 'no such entry (32)',
  34: 'the user name makes no valid DN (34)',
  48: 'the entry has no password (48)',
  50: 'the directory lets this entry not bind (50)',
  // 389 Directory Server: the account was inactivated.
  53: 'the directory is unwilling to let this entry bind (53), the account may be disabled',
};

/** The `data` of Active Directory's answers to a bind, hexadecimal Windows error codes. */
const windowsReasons: Readonly<Record<string, string>> = {
  '525': 'no such user',
  '52e': 'wrong password',
  '530': 'the user may not log on at this time',
  '531': 'the user may not log on from here',
  '532': 'the password has expired',
  '533': 'the account is disabled',
  '701': 'the account has expired',
  '773': 'the password must be changed first',
  '775': 'the account is locked',
};

/**
 * Why a user's bind was refused, for the log.
 *
 * @param unclear what code 49 says of itself: with a DN template nobody knows whether there is such a user
 * @returns undefined where it was not refused: the server cannot tell
 */
export function refusalReason(error: unknown, unclear: string): string | undefined {
  const code = codeOf(error);
  if (code === undefined) return undefined;
  if (code !== codes.invalidCredentials) return refusals[code];
  const data = /\bdata ([0-9a-f]{2,8})\b/i.exec((error as Error).message)?.[1]?.toLowerCase();
  return (data !== undefined && Object.hasOwn(windowsReasons, data) && windowsReasons[data]) || unclear;
}

/** What an operator reads where the service account may not bind. */
export function serviceRefused(server: string, error: unknown): unknown {
  const code = codeOf(error);
  if (code === undefined || isServerFailure(error)) return error;
  const advice = code === codes.invalidCredentials ? ': is `bind` right, and the account not locked?' : '';
  const reason = `${server} refused the service account: ${codeText(code)}${advice}`;
  return new RegistryError('UNAVAILABLE', { reason, cause: worthTelling(error) });
}

/** Errors of the directory as what a verifier may throw; others, an abort's reason with them, as they are. */
export function asUnavailable(error: unknown, doing: string): unknown {
  if (error instanceof NoAnswer)
    return new RegistryError('UNAVAILABLE', { reason: error.message, cause: error.cause });
  const code = codeOf(error);
  if (code === undefined) return error;
  const advice =
    code === codes.noSuchObject || code === codes.insufficientAccess
      ? ': is `base` right, and may it be read?'
      : '';
  return new RegistryError('UNAVAILABLE', {
    reason: `the directory failed at ${doing}: ${codeText(code)}${advice}`,
    cause: worthTelling(error),
  });
}

/** @param cause the directory's answer, where that is what refuses */
export function refused(reason: string, cause?: unknown): RegistryError {
  return new RegistryError('UNAUTHORIZED', { reason, cause: worthTelling(cause) });
}

/** ldapts ends each answer's words with its code, which we tell in words of our own: often there is nothing else. */
function worthTelling(error: unknown): unknown {
  const isCodeOnly = error instanceof ResultCodeError && /^\s*Code: 0x[0-9a-f]+$/i.test(error.message);
  return isCodeOnly ? undefined : error;
}
