import { RegistryError } from '../../errors.js';

const clock = "the secret key is wrong, or this machine's clock: AWS allows 5 minutes";
const unknownKey = 'AWS does not know these keys: were they deleted, or are they of another partition?';
const expired = 'these AWS credentials have expired: renew them';
const throttled = 'AWS limits how often it is asked; it is asked again later';

/** What to do, by the name of an error of AWS. */
const advice: Readonly<Record<string, string>> = {
  AccessDenied: 'its IAM policy, or the trust policy of the role, does not allow it',
  AccessDeniedException: 'its IAM policy does not allow it',
  AuthFailure: unknownKey,
  ExpiredToken: expired,
  ExpiredTokenException: expired,
  RequestExpired: clock,
  InvalidSignatureException: clock,
  SignatureDoesNotMatch: clock,
  UnauthorizedOperation: 'its IAM policy does not allow it',
  UnrecognizedClientException: unknownKey,
  InvalidClientTokenId: unknownKey,
  InvalidAccessKeyId: unknownKey,
  InvalidIdentityToken:
    'the role does not trust the issuer of the token: is there an OIDC provider for the cluster?',
  IDPRejectedClaim: 'the role does not trust this service account',
  ThrottlingException: throttled,
  Throttling: throttled,
  TooManyRequestsException: throttled,
  RequestLimitExceeded: throttled,
};

interface AwsError {
  readonly name?: unknown;
  readonly message?: unknown;
  readonly code?: unknown;
  readonly path?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/**
 * What went wrong at AWS, for operators: the name of its error, its status and what to do. Its words are not repeated,
 * nor is the error kept as a cause: where a signature does not match they hold the session's token.
 *
 * @param who answered or was to answer: `ECR in eu-west-1`
 */
export function awsFailure(error: unknown, who: string): RegistryError {
  if (error instanceof RegistryError) return error;
  const { name, message, $metadata } = (error ?? {}) as AwsError;
  const text = typeof message === 'string' ? message : '';
  const status = $metadata?.httpStatusCode;
  const code = typeof name === 'string' && /^[A-Za-z]{1,64}$/.test(name) ? name : 'an unknown error';
  const said =
    status === undefined
      ? localFailure(error as AwsError, text, code)
      : [`answered ${status} ${code}`, ...forbidden(text), ...adviceFor(code)].join(': ');
  return new RegistryError('UNAVAILABLE', { reason: `${who}: ${said}` });
}

/** The name of an error of AWS, where it answered with one. */
export function awsErrorName(error: unknown): string | undefined {
  const { name, $metadata } = (error ?? {}) as AwsError;
  return typeof name === 'string' && $metadata?.httpStatusCode !== undefined ? name : undefined;
}

function adviceFor(code: string): readonly string[] {
  const known = Object.hasOwn(advice, code) ? advice[code] : undefined;
  return known === undefined ? [] : [known];
}

/** Who may not do what, of AWS's message: names only, no text. */
function forbidden(message: string): readonly string[] {
  const action = /[Nn]ot authorized to perform:? ([a-z0-9-]{1,32}:[A-Za-z]{1,64})/.exec(message)?.[1];
  if (action === undefined) return [];
  const who = /User: (arn:[\w:/+=,.@-]{1,512})/.exec(message)?.[1] ?? 'it';
  return [`${who} may not ${action}`];
}

/** An error of the SDK's own, before anything was asked. */
function localFailure({ code, path }: AwsError, message: string, name: string): string {
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code)) {
    return typeof path === 'string' ? `cannot read ${path}: ${code}` : `failed: ${code}`;
  }
  if (/SSO|Token is expired|aws sso login/i.test(message)) {
    return 'the SSO session has expired or is missing: run `aws sso login` for it';
  }
  if (/aws login|reauthenticate/i.test(message)) return 'the session has expired: run `aws login` for it';
  if (/multi-factor/i.test(message)) return 'the role asks for a second factor, which nobody can enter here';
  if (/Invalid Configuration/.test(message))
    return 'the endpoint does not go with FIPS or dual-stack endpoints';
  if (/not authori[sz]ed|Forbidden|Unauthorized/i.test(message)) return `it is refused (${name})`;
  return `failed (${name})`;
}
