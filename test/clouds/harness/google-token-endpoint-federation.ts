import { createHash, createHmac, randomBytes } from 'node:crypto';
import type { GoogleAccounts } from './google-token-endpoint-accounts.js';
import type { Exchange, World } from './world.js';

/** One pool's provider of workload identity federation. */
export interface FederationProvider {
  readonly audience: string;
  readonly subjectTokenType: string;
  /** The tokens of the other side that are good, and who they are of. */
  readonly subjects: ReadonlyMap<string, string>;
}

/** An access key of the other side, where that is AWS. */
export interface AwsKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** sts.googleapis.com and iamcredentials.googleapis.com (google.aip.dev/auth/4117). */
export interface GoogleFederation {
  providers: readonly FederationProvider[];
  awsKeys: readonly AwsKey[];
  /** Who may impersonate which service account: `caller -> email`. */
  impersonations: ReadonlySet<string>;
}

const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';
const awsType = 'urn:ietf:params:aws:token-type:aws4_request';
const cloudPlatform = 'https://www.googleapis.com/auth/cloud-platform';

export function startGoogleFederation(world: World, accounts: GoogleAccounts): GoogleFederation {
  const federation: GoogleFederation = { providers: [], awsKeys: [], impersonations: new Set() };
  world.host('sts.googleapis.com', async (exchange) => {
    const form = new URLSearchParams(await exchange.readText());
    const { record, url } = exchange;
    if (record.method !== 'POST' || url.pathname !== '/v1/token') return exchange.json(404, {});
    const subject = subjectOf(form, federation);
    if (typeof subject !== 'string') return exchange.json(400, subject);
    const { token } = accounts.giveToken(subject);
    const fields = {
      issued_token_type: accessTokenType,
      token_type: 'Bearer',
      expires_in: accounts.tokenLife,
    };
    exchange.json(200, { access_token: token, ...fields });
  });
  world.host('iamcredentials.googleapis.com', async (exchange) => {
    const body = parse(await exchange.readText());
    generateAccessToken(exchange, body, accounts, federation);
  });
  return federation;
}

interface Refused {
  readonly error: string;
  readonly error_description: string;
}

function subjectOf(form: URLSearchParams, federation: GoogleFederation): string | Refused {
  const refused = (error: string, error_description: string) => ({ error, error_description });
  if (form.get('grant_type') !== tokenExchange) return refused('unsupported_grant_type', 'Bad grant_type');
  if (form.get('requested_token_type') !== accessTokenType) return refused('invalid_request', 'Bad type');
  if (form.get('scope') !== cloudPlatform) return refused('invalid_scope', 'Invalid scope.');
  const audience = form.get('audience') ?? '';
  const provider = federation.providers.find((one) => one.audience === audience);
  if (provider === undefined) {
    return refused('invalid_target', 'The target service indicated by the "audience" parameters is invalid.');
  }
  if (form.get('subject_token_type') !== provider.subjectTokenType) {
    return refused('invalid_request', 'Invalid value for "subject_token_type".');
  }
  const token = form.get('subject_token') ?? '';
  const subject =
    provider.subjectTokenType === awsType
      ? ofSignedRequest(token, audience, federation.awsKeys)
      : provider.subjects.get(token);
  return subject ?? refused('invalid_grant', 'The given credential is rejected by the attribute condition.');
}

function generateAccessToken(
  { record, url, json }: Exchange,
  body: Readonly<Record<string, unknown>>,
  accounts: GoogleAccounts,
  federation: GoogleFederation,
) {
  const failed = (code: number, status: string, message: string) =>
    json(code, { error: { code, message, status } });
  const caller = accounts.accountOf(record.headers.authorization?.replace(/^Bearer /, '') ?? '');
  if (caller === undefined)
    return failed(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.');
  const [, target] =
    /^\/v1\/projects\/-\/serviceAccounts\/([^/:]+):generateAccessToken$/.exec(url.pathname) ?? [];
  if (record.method !== 'POST' || target === undefined || !accounts.serviceAccounts.has(target)) {
    return failed(404, 'NOT_FOUND', 'Not found; Gaia id not found for email');
  }
  if (!federation.impersonations.has(`${caller} -> ${target}`)) {
    const permission =
      "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
    return failed(403, 'PERMISSION_DENIED', permission);
  }
  const { scope, lifetime } = body;
  if (!Array.isArray(scope) || scope.join() !== cloudPlatform || !/^\d+s$/.test(String(lifetime))) {
    return failed(400, 'INVALID_ARGUMENT', 'Request contains an invalid argument.');
  }
  const { token, expiresAt } = accounts.giveToken(target);
  json(200, { accessToken: token, expireTime: new Date(expiresAt).toISOString() });
}

/**
 * The subject token of AWS is a signed GetCallerIdentity request that Google sends. Its signature is made anew
 * (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
 */
function ofSignedRequest(token: string, audience: string, keys: readonly AwsKey[]): string | undefined {
  const {
    url = '',
    method,
    headers = [],
  } = parse(decodeURIComponent(token)) as {
    url?: string;
    method?: string;
    headers?: { key: string; value: string }[];
  };
  const all = new Map(headers.map(({ key, value }) => [key.toLowerCase(), value]));
  const form =
    /^AWS4-HMAC-SHA256 Credential=([A-Z0-9]+)\/(\d{8})\/([a-z0-9-]+)\/sts\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/;
  const [, id, day = '', region = '', names = '', signature] =
    form.exec(all.get('authorization') ?? '') ?? [];
  const key = keys.find(({ accessKeyId }) => accessKeyId === id);
  const asked = URL.canParse(url) ? new URL(url) : undefined;
  if (key === undefined || asked?.host !== `sts.${region}.amazonaws.com` || method !== 'POST')
    return undefined;
  if (all.get('x-goog-cloud-target-resource') !== audience) return undefined;
  const hash = (text: string) => createHash('sha256').update(text).digest('hex');
  const hmac = (secret: string | Buffer, text: string) => createHmac('sha256', secret).update(text).digest();
  const query = [...asked.searchParams].map(([name, value]) => `${name}=${value}`).sort();
  const lines = names.split(';').map((name) => `${name}:${all.get(name)}\n`);
  const canonical = [method, asked.pathname, query.join('&'), lines.join(''), names, hash('')].join('\n');
  const scope = `${day}/${region}/sts/aws4_request`;
  const text = ['AWS4-HMAC-SHA256', all.get('x-amz-date'), scope, hash(canonical)].join('\n');
  const signing = [day, region, 'sts', 'aws4_request'].reduce<string | Buffer>(
    hmac,
    `AWS4${key.secretAccessKey}`,
  );
  return hmac(signing, text).toString('hex') === signature ? `aws:${id}` : undefined;
}

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** A token as an identity provider of another cloud gives one. */
export function subjectToken(): string {
  return `eyJhbGciOiJSUzI1NiJ9.${randomBytes(120).toString('base64url')}.${randomBytes(64).toString('base64url')}`;
}
