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
  register(application?: { secrets?: string[]; federated?: FederatedCredential[] }): EntraApplication;
  /** An access token for `audience`; machines get theirs this way. */
  issue(application: EntraApplication, audience: string): string;
  /** @returns the claims of an access token of this tenant that has not ended */
  verify(token: string): Readonly<Record<string, unknown>> | undefined;
  fault: EntraFault | undefined;
}

/** What of Microsoft's can be asked for here; anything else is AADSTS500011. */
const audiences = ['https://containerregistry.azure.net', 'https://management.azure.com'];
const lifetime = 3599;

export function startEntra(world: World, hosts: readonly string[] = ['login.microsoftonline.com']): Entra {
  const tenant = randomUUID();
  const keys = keysOf('tenants');
  const applications = new Map<string, EntraApplication>();
  const entra: Entra = {
    tenant,
    given: [],
    fault: undefined,
    register: ({ secrets = [], federated = [] } = {}) => {
      const application = { clientId: randomUUID(), secrets, federated };
      applications.set(application.clientId, application);
      return application;
    },
    issue: (application, audience) => {
      const now = Math.floor(Date.now() / 1000);
      const times = { iat: now, nbf: now, exp: now + lifetime };
      const iss = `https://sts.windows.net/${tenant}/`;
      const who = { appid: application.clientId, tid: tenant, uti: randomUUID() };
      const token = signedToken({ iss, aud: audience, ...times, ...who }, keys.privateKey);
      entra.given.push(token);
      return token;
    },
    verify: (token) => {
      const claims = verifiedClaims(token, keys.publicKey);
      return claims && Number(claims.exp) > Date.now() / 1000 ? claims : undefined;
    },
  };
  world.host(hosts, (exchange) => answer(entra, applications, exchange));
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
  if (!audiences.includes(audience)) {
    return refuse(400, 'invalid_resource', 500011, 'The resource principal was not found in the tenant.');
  }
  const problem = proofProblem(application, form);
  if (problem !== undefined) return refuse(401, 'invalid_client', ...problem);
  const access_token = entra.issue(application, audience);
  // The v2 endpoint writes numbers; version 1 and the identity endpoints of machines write texts.
  exchange.json(200, { token_type: 'Bearer', expires_in: lifetime, ext_expires_in: lifetime, access_token });
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
  const kid = createHash('sha256')
    .update(createPublicKey(key).export({ type: 'spki', format: 'der' }))
    .digest('base64url');
  const text = [{ alg: 'RS256', typ: 'JWT', kid }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${text}.${createSign('RSA-SHA256').update(text).sign(key, 'base64url')}`;
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
