import {
  createHash,
  createPublicKey,
  createSign,
  createVerify,
  generateKeyPairSync,
  type KeyObject,
  type KeyPairKeyObjectResult,
  randomUUID,
  timingSafeEqual,
} from 'node:crypto';
import type { Exchange, World } from './world.js';

/** An application, or the service principal of a managed identity. */
export interface EntraApplication {
  readonly clientId: string;
  /** Of the service principal. */
  readonly objectId: string;
  /** What tokens of a managed identity say beyond that: `xms_mirid`, `xms_az_rid`. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** A test that rotates it adds one, and takes the other away. */
  readonly secrets: string[];
  /** Whose tokens are taken in place of a secret. */
  readonly federated: FederatedCredential[];
}

export interface FederatedCredential {
  readonly issuer: string;
  readonly subject: string;
  readonly audience: string;
  readonly key: KeyObject;
}

/** What the fake says instead of giving a token. */
export interface EntraFault {
  readonly status: number;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One tenant of Entra ID with its token endpoint (OAuth 2.0 client credentials, `/oauth2/v2.0/token`). */
export interface Entra {
  readonly tenant: string;
  /** Every access token it gave, also through a machine's identity endpoint: none may be seen where it was not meant for. */
  readonly given: string[];
  /** What tokens can be asked for: Microsoft's own, and App ID URIs that a test adds. Anything else is AADSTS500011. */
  readonly audiences: string[];
  register(application?: {
    secrets?: string[];
    federated?: FederatedCredential[];
    claims?: Readonly<Record<string, unknown>>;
  }): EntraApplication;
  /** An access token for `audience`; machines get theirs this way. @param more claims, in place of those it has */
  issue(application: EntraApplication, audience: string, more?: Readonly<Record<string, unknown>>): string;
  /** @returns the claims of an access token of this tenant that has not ended */
  verify(token: string): Readonly<Record<string, unknown>> | undefined;
  fault: EntraFault | undefined;
}

const ownAudiences = ['https://containerregistry.azure.net', 'https://management.azure.com'];
const lifetime = 3599;

/** @param now milliseconds since the epoch, by its clock */
export function startEntra(
  world: World,
  hosts: readonly string[] = ['login.microsoftonline.com'],
  now: () => number = Date.now,
): Entra {
  const tenant = randomUUID();
  const keys = keysOf('tenants');
  const applications = new Map<string, EntraApplication>();
  const entra: Entra = {
    tenant,
    given: [],
    fault: undefined,
    audiences: [...ownAudiences],
    register: ({ secrets = [], federated = [], claims = {} } = {}) => {
      const [clientId, objectId] = [randomUUID(), randomUUID()];
      const application = { clientId, objectId, secrets, federated, claims };
      applications.set(application.clientId, application);
      return application;
    },
    issue: (application, audience, more = {}) => {
      const seconds = Math.floor(now() / 1000);
      const times = { iat: seconds, nbf: seconds, exp: seconds + lifetime };
      const iss = `https://sts.windows.net/${tenant}/`;
      const { clientId: appid, objectId: oid } = application;
      const who = {
        appid,
        appidacr: '2',
        idp: iss,
        oid,
        sub: oid,
        tid: tenant,
        uti: randomUUID(),
        ver: '1.0',
      };
      const claims = { iss, aud: audience, ...times, ...who, ...application.claims, ...more };
      const token = signedToken(claims, keys.privateKey);
      entra.given.push(token);
      return token;
    },
    verify: (token) => {
      const claims = verifiedClaims(token, keys.publicKey);
      return claims && Number(claims.exp) > now() / 1000 ? claims : undefined;
    },
  };
  world.host(hosts, (exchange) => answer(entra, applications, exchange));
  // Version 1.0 has names of its own for the issuer and its keys.
  world.host(['sts.windows.net', 'login.windows.net'], (exchange) => answer(entra, applications, exchange));
  return entra;
}

async function answer(
  entra: Entra,
  applications: ReadonlyMap<string, EntraApplication>,
  exchange: Exchange,
): Promise<void> {
  const form = new URLSearchParams(await exchange.readText());
  const { fault } = entra;
  if (fault !== undefined) return exchange.text(fault.status, fault.body, fault.headers);
  const { url, request } = exchange;
  const published = request.method === 'GET' ? discoveryOf(entra.tenant, url) : undefined;
  if (published !== undefined) return exchange.json(200, published);
  if (request.method !== 'POST' || !/^\/[^/]+\/oauth2\/v2\.0\/token$/.test(url.pathname))
    return exchange.text(404, '');
  const refuse = (status: number, error: string, code: number, words: string) =>
    exchange.json(status, errorBody(error, code, words));
  if (!/^application\/x-www-form-urlencoded\b/.test(request.headers['content-type'] ?? '')) {
    return refuse(400, 'invalid_request', 900144, 'The request body must contain the parameter grant_type.');
  }
  if (url.pathname.split('/')[1] !== entra.tenant) {
    return refuse(
      400,
      'invalid_request',
      90002,
      "Tenant 'x' not found. Check to make sure you have the correct tenant ID.",
    );
  }
  if (form.get('grant_type') !== 'client_credentials') {
    return refuse(400, 'unsupported_grant_type', 70003, 'The app requested an unsupported grant type.');
  }
  const application = applications.get(form.get('client_id') ?? '');
  if (application === undefined) {
    return refuse(
      400,
      'unauthorized_client',
      700016,
      "Application with identifier 'x' was not found in the directory.",
    );
  }
  const audience = /^(.+)\/\.default$/.exec(form.get('scope') ?? '')?.[1];
  if (audience === undefined)
    return refuse(400, 'invalid_scope', 1002012, 'The provided value for scope is not valid.');
  if (!entra.audiences.includes(audience)) {
    return refuse(400, 'invalid_resource', 500011, 'The resource principal was not found in the tenant.');
  }
  const problem = proofProblem(application, form);
  if (problem !== undefined) return refuse(401, 'invalid_client', ...problem);
  const access_token = entra.issue(application, audience);
  // The v2 endpoint writes numbers; version 1 and the identity endpoints of machines write texts.
  exchange.json(200, { token_type: 'Bearer', expires_in: lifetime, ext_expires_in: lifetime, access_token });
}

/** OpenID Connect discovery of a tenant, in both versions. The keys are those of all tenants. */
function discoveryOf(tenant: string, { host, pathname }: URL): object | undefined {
  if (pathname === '/common/discovery/keys' || pathname === `/${tenant}/discovery/v2.0/keys`) {
    const { publicKey } = keysOf('tenants');
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: keyId(publicKey), use: 'sig' };
    return { keys: [jwk] };
  }
  if (host === 'sts.windows.net' && pathname === `/${tenant}/.well-known/openid-configuration`) {
    const jwks_uri = 'https://login.windows.net/common/discovery/keys';
    return { issuer: `https://sts.windows.net/${tenant}/`, jwks_uri };
  }
  if (
    host === 'login.microsoftonline.com' &&
    pathname === `/${tenant}/v2.0/.well-known/openid-configuration`
  ) {
    const base = `https://login.microsoftonline.com/${tenant}`;
    return { issuer: `${base}/v2.0`, jwks_uri: `${base}/discovery/v2.0/keys` };
  }
  return undefined;
}

function proofProblem(
  application: EntraApplication,
  form: URLSearchParams,
): readonly [code: number, words: string] | undefined {
  const secret = form.get('client_secret');
  if (secret !== null) {
    if (application.secrets.some((known) => same(known, secret))) return undefined;
    return [
      7000215,
      'Invalid client secret provided. Ensure the secret being sent is the client secret value.',
    ];
  }
  const assertion = form.get('client_assertion');
  if (
    assertion === null ||
    form.get('client_assertion_type') !== 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
  ) {
    return [
      7000218,
      "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ];
  }
  return assertionProblem(application, assertion);
}

function assertionProblem(
  { federated }: EntraApplication,
  assertion: string,
): readonly [code: number, words: string] | undefined {
  const claims = payloadOf(assertion);
  const ofIssuer = federated.filter(({ issuer }) => issuer === claims?.iss);
  if (claims === undefined || ofIssuer.length === 0) {
    return [700211, "No matching federated identity record found for presented assertion issuer 'x'."];
  }
  const signed = ofIssuer.filter(({ key }) => verifiedClaims(assertion, key) !== undefined);
  if (signed.length === 0) return [50013, 'Assertion failed signature validation.'];
  const known = signed.filter(({ subject }) => subject === claims.sub);
  if (known.length === 0) {
    return [700213, "No matching federated identity record found for presented assertion subject 'x'."];
  }
  const meant = [claims.aud].flat();
  if (!known.some(({ audience }) => meant.includes(audience))) {
    return [700212, "No matching federated identity record found for presented assertion audience 'x'."];
  }
  const now = Date.now() / 1000;
  if (Number(claims.exp) <= now || Number(claims.nbf ?? 0) > now + 300) {
    return [700024, 'Client assertion is not within its valid time range.'];
  }
  return undefined;
}

function errorBody(error: string, code: number, words: string): object {
  const [trace_id, correlation_id] = [randomUUID(), randomUUID()];
  const timestamp = new Date().toISOString().replace('T', ' ').replace(/\..*/, 'Z');
  return {
    error,
    error_description: `AADSTS${code}: ${words} Trace ID: ${trace_id} Correlation ID: ${correlation_id} Timestamp: ${timestamp}`,
    error_codes: [code],
    ...{ timestamp, trace_id, correlation_id },
    error_uri: `https://login.microsoftonline.com/error?code=${code}`,
  };
}

/** A cluster that signs tokens for its service accounts, as AKS with its OIDC issuer. */
export interface TokenIssuer {
  readonly issuer: string;
  readonly key: KeyObject;
  /** @param options.lifetime seconds, from now */
  token(options: { subject: string; audience?: string; lifetime?: number }): string;
}

export const federationAudience = 'api://AzureADTokenExchange';

export function createTokenIssuer(): TokenIssuer {
  const issuer = `https://westeurope.oic.prod-aks.azure.com/${randomUUID()}/`;
  const keys = keysOf('clusters');
  return {
    issuer,
    key: keys.publicKey,
    token: ({ subject, audience = federationAudience, lifetime: life = 3600 }) => {
      const now = Math.floor(Date.now() / 1000);
      const claims = {
        iss: issuer,
        sub: subject,
        aud: [audience],
        iat: now,
        nbf: now - 3600,
        exp: now + life,
      };
      return signedToken({ ...claims, jti: randomUUID() }, keys.privateKey);
    },
  };
}

const madeKeys = new Map<string, KeyPairKeyObjectResult>();

/** Of a whole process: making them takes longer than everything else here. */
function keysOf(owners: 'tenants' | 'clusters'): KeyPairKeyObjectResult {
  const keys = madeKeys.get(owners) ?? generateKeyPairSync('rsa', { modulusLength: 2048 });
  madeKeys.set(owners, keys);
  return keys;
}

/** A JWT with RS256, by nothing but node:crypto: the fakes share no code with what they check. */
function signedToken(claims: object, key: KeyObject): string {
  const text = [{ alg: 'RS256', typ: 'JWT', kid: keyId(createPublicKey(key)) }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${text}.${createSign('RSA-SHA256').update(text).sign(key, 'base64url')}`;
}

function keyId(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('base64url');
}

function verifiedClaims(token: string, key: KeyObject): Readonly<Record<string, unknown>> | undefined {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const valid = createVerify('RSA-SHA256').update(`${header}.${payload}`).verify(key, signature, 'base64url');
  return valid ? payloadOf(token) : undefined;
}

function payloadOf(token: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}

function same(one: string, other: string): boolean {
  const [a, b] = [one, other].map((text) => createHash('sha256').update(text).digest()) as [Buffer, Buffer];
  return timingSafeEqual(a, b);
}
