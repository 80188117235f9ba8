import { parseJsonObject } from '../../protocol/json-object.js';
import type { KeyFile } from './key-file.js';

/** An answer that is no token. */
export interface Refusal {
  readonly url: URL;
  readonly status: number;
  readonly text: string;
}

/**
 * Which server refused, with which public error code, and what to do about it. For operators. Nothing of the answer is
 * quoted: whoever answers may repeat what it was sent, whole or in pieces.
 */
export function describeRefusal(key: KeyFile, refusal: Refusal): string {
  const { url, status } = refusal;
  const said = errorOf(refusal);
  const answer = [`${url.host} answers ${status}`, ...(said.code ? [said.code] : [])].join(' ');
  const fix = fixFor(key, url, status, said);
  return `${answer}${fix === undefined ? '' : `: ${fix}`}`;
}

function fixFor(key: KeyFile, url: URL, status: number, { code, words }: Said): string | undefined {
  if (status === 429 || status >= 500) return undefined;
  if (isOf(url, 'iamcredentials')) return fixImpersonation(key, status);
  const source = key.type === 'impersonated_service_account' ? key.source : key;
  switch (source.type) {
    case 'service_account':
      return code === 'invalid_grant' ? fixGrant(source.email, words) : undefined;
    case 'authorized_user':
      return 'sign in again: gcloud auth application-default login';
    case 'external_account':
      if (isOf(url, 'sts')) {
        return "compare audience and subject_token_type of the key file with the pool's provider, and look at what its credential_source gives";
      }
      return 'it is the credential_source of the key file';
  }
}

/** Google has one code for all of these, and tells them apart in words. */
function fixGrant(email: string, words: string): string {
  if (/short-lived token/i.test(words)) return "this machine's clock is wrong";
  if (/account not found/i.test(words)) return `there is no service account ${email}: it was deleted`;
  if (/signature/i.test(words)) return `the key of ${email} was deleted, or is another's`;
  return `the key of ${email} was deleted or disabled, or this machine's clock is wrong`;
}

function fixImpersonation(key: KeyFile, status: number): string | undefined {
  const role = key.type === 'external_account' ? 'workloadIdentityUser' : 'serviceAccountTokenCreator';
  if (status === 403) return `the service account to be impersonated must grant roles/iam.${role} to us`;
  if (status === 404) return 'there is no service account of the name in service_account_impersonation_url';
  return undefined;
}

function isOf({ hostname }: URL, service: string): boolean {
  return hostname.endsWith('.googleapis.com') && hostname.split(/[.-]/).includes(service);
}

/** RFC 6749 section 5.2, RFC 8693 section 2.2.2, Google's own of OAuth, and those of its APIs (`google.rpc.Code`). */
const knownCodes = new Set([
  ...['invalid_request', 'invalid_client', 'invalid_grant', 'unauthorized_client', 'unsupported_grant_type'],
  ...['invalid_scope', 'invalid_target', 'access_denied', 'server_error', 'temporarily_unavailable'],
  ...['deleted_client', 'disabled_client', 'org_internal', 'admin_policy_enforced', 'internal_failure'],
  ...['rate_limit_exceeded', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED', 'NOT_FOUND'],
  ...['ALREADY_EXISTS', 'PERMISSION_DENIED', 'UNAUTHENTICATED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION'],
  ...['ABORTED', 'OUT_OF_RANGE', 'UNIMPLEMENTED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS'],
]);

interface Said {
  /** One that is known: a word that is not may be a secret. */
  readonly code?: string;
  /** Looked at, never shown. */
  readonly words: string;
}

/** Both forms: OAuth's `{error, error_description}` and Google's own `{error: {status, message}}`. */
function errorOf({ text }: Refusal): Said {
  const { error, error_description: description } = parseJsonObject(text) ?? {};
  const [code, words] =
    typeof error === 'object' && error !== null
      ? [(error as Record<string, unknown>).status, (error as Record<string, unknown>).message]
      : [error, description];
  return {
    words: typeof words === 'string' ? words : '',
    ...(typeof code === 'string' && knownCodes.has(code) && { code }),
  };
}
