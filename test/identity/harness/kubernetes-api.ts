import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import {
  type CryptoKey,
  createLocalJWKSet,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTPayload,
  jwtVerify,
  SignJWT,
} from 'jose';
import { certify, createAuthority } from '../../../src/testing/certificates.js';
import { startLoopbackServer } from '../../../src/testing/loopback-server.js';
import type { Scope } from '../../harness/scope.js';

export interface TokenOptions {
  /** Default: `default` in `prod`. */
  readonly namespace?: string;
  readonly name?: string;
  /** The token is bound to it. */
  readonly pod?: string;
  readonly node?: string;
  /** Default: `docker.example.com`. */
  readonly audiences?: readonly string[];
  /** Seconds from now. Default: an hour. */
  readonly life?: number;
  /** What else, or what other than usual, is in it; `undefined` takes a claim out. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** What the API server was asked in a TokenReview it took. */
export interface AskedReview {
  readonly token: string;
  readonly audiences: readonly string[];
}

/** The parts of a Kubernetes API server that judge tokens, over HTTPS on the loopback interface. */
export interface KubernetesApi {
  /** `https://localhost:PORT`. */
  readonly url: string;
  readonly issuer: string;
  /** PEM of the authority of its certificate, and a file with it. */
  readonly ca: string;
  readonly caFile: string;
  /** Of a ServiceAccount that may create tokenreviews, and a file with it. */
  readonly reviewerToken: string;
  readonly reviewerTokenFile: string;
  /** Of one that may not. */
  readonly strangerToken: string;
  readonly reviews: readonly AskedReview[];
  /** Method and path of all that was asked. */
  readonly requests: readonly string[];
  /** What answers for a path instead; remove it to end it. */
  readonly faults: Map<string, RequestListener>;
  /** False: it gives its keys to whoever it knows only, as API servers do by default. */
  publicKeys: boolean;
  /** False: as API servers and webhooks of long ago, which do not look at audiences. */
  knowsAudiences: boolean;
  token(options?: TokenOptions): Promise<string>;
  /** A token of somebody who is no ServiceAccount: a review knows it as this user. */
  addUser(username: string, groups: readonly string[]): Promise<string>;
  deletePod(namespace: string, pod: string): void;
  /** Signs with another key from now on; the old one is no longer published. */
  rotateKeys(): Promise<void>;
  /** Writes the reviewer another token, as the kubelet does: one by the old key it does not know any more. */
  renewReviewer(): Promise<void>;
  stop(): Promise<void>;
  /** On the same port. */
  restart(): Promise<void>;
}

export const reviewPath = '/apis/authentication.k8s.io/v1/tokenreviews';
export const keySetPath = '/openid/v1/jwks';
export const discoveryPath = '/.well-known/openid-configuration';

interface Key {
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

/** @param options.issuer default: its URL, so that discovery works */
export async function startKubernetesApi(
  scope: Scope,
  options: { readonly issuer?: string } = {},
): Promise<KubernetesApi> {
  const authority = await createAuthority({ name: 'cluster' });
  const { certificate: cert, privateKey } = await certify(authority, { name: 'apiserver' });
  const directory = mkdtempSync(join(tmpdir(), 'kubernetes-'));
  scope.after(() => rmSync(directory, { recursive: true, force: true }));
  const written = (name: string, content: string) => {
    writeFileSync(join(directory, name), content, { mode: 0o600 });
    return join(directory, name);
  };
  const cluster = new Cluster(await newKey());
  const tls = { cert, key: privateKey };
  let server = await startLoopbackServer(cluster.serve, { tls });
  scope.after(() => server.close());
  const { port } = new URL(server.url);
  const url = `https://localhost:${port}`;
  cluster.issuer = options.issuer ?? url;
  const reviewer = async () => {
    const token = await cluster.token({ namespace: 'kube-system', name: 'proxy', audiences: ['api'] });
    cluster.reviewers.add(token);
    return token;
  };
  const reviewerToken = await reviewer();
  const strangerToken = await cluster.token({ namespace: 'prod', name: 'web', audiences: ['api'] });
  return Object.assign(cluster, {
    ...{ url, reviewerToken, strangerToken },
    ca: authority.certificate,
    caFile: written('ca.crt', authority.certificate),
    reviewerTokenFile: written('token', reviewerToken),
    renewReviewer: async () => void written('token', await reviewer()),
    stop: () => server.close(),
    restart: async () => {
      server = await startLoopbackServer(cluster.serve, { tls, port: Number(port) });
    },
  });
}

async function newKey(): Promise<Key> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  return {
    privateKey,
    jwk: { ...(await exportJWK(publicKey)), kid: randomUUID(), alg: 'ES256', use: 'sig' },
  };
}

/** An error as API servers answer it (`meta/v1` Status). */
class Refusal extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

class Cluster {
  issuer = '';
  publicKeys = true;
  knowsAudiences = true;
  readonly reviews: AskedReview[] = [];
  readonly requests: string[] = [];
  readonly faults = new Map<string, RequestListener>();
  readonly reviewers = new Set<string>();
  readonly #users = new Map<string, object>();
  readonly #deleted = new Set<string>();
  #key: Key;

  constructor(key: Key) {
    this.#key = key;
  }

  token(options: TokenOptions = {}): Promise<string> {
    const { namespace = 'prod', name = 'default', pod, node, claims, life = 3600 } = options;
    const now = Math.floor(Date.now() / 1000);
    const payload = {
      iss: this.issuer,
      sub: `system:serviceaccount:${namespace}:${name}`,
      aud: [...(options.audiences ?? ['docker.example.com'])],
      ...{ iat: now, nbf: now, exp: now + life, jti: randomUUID() },
      'kubernetes.io': {
        namespace,
        serviceaccount: { name, uid: `uid-of-${name}` },
        ...(pod !== undefined && { pod: { name: pod, uid: `uid-of-${pod}` } }),
        ...(node !== undefined && { node: { name: node, uid: `uid-of-${node}` } }),
      },
      ...claims,
    };
    const { privateKey, jwk } = this.#key;
    return new SignJWT(payload)
      .setProtectedHeader({ alg: 'ES256', ...(jwk.kid !== undefined && { kid: jwk.kid }) })
      .sign(privateKey);
  }

  async addUser(username: string, groups: readonly string[]): Promise<string> {
    const token = await this.token({ claims: { sub: username } });
    this.#users.set(token, { username, groups });
    return token;
  }

  deletePod(namespace: string, pod: string): void {
    this.#deleted.add(`${namespace}/${pod}`);
  }

  async rotateKeys(): Promise<void> {
    this.#key = await newKey();
  }

  readonly serve: RequestListener = (request, response) => {
    const { method = '', url = '' } = request;
    this.requests.push(`${method} ${url}`);
    const fault = this.faults.get(url);
    if (fault !== undefined) fault(request, response);
    else this.#answer(request, response).catch((error: unknown) => refuse(response, error));
  };

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url, headers } = request;
    if (url === reviewPath) return this.#review(request, response);
    if (url !== keySetPath && url !== discoveryPath) throw new Refusal(404, 'not found');
    if (request.method !== 'GET') throw new Refusal(405, 'method not allowed');
    if (!this.publicKeys) await this.#authenticate(headers.authorization);
    if (url === keySetPath) {
      // go-restful answers 406 to who does not accept what the route produces.
      demandAccepted(headers.accept, 'application/jwk-set+json');
      return answerJson(response, 200, { keys: [this.#key.jwk] }, 'application/jwk-set+json');
    }
    demandAccepted(headers.accept, 'application/json');
    answerJson(response, 200, {
      issuer: this.issuer,
      jwks_uri: `https://${headers.host}${keySetPath}`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
    });
  }

  async #review(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, headers } = request;
    if (method !== 'POST') throw new Refusal(405, 'method not allowed');
    const token = await this.#authenticate(headers.authorization);
    if (!this.reviewers.has(token))
      throw new Refusal(403, 'tokenreviews is forbidden: cannot create resource');
    if (headers['content-type'] !== 'application/json') throw new Refusal(415, 'unsupported media type');
    demandAccepted(headers.accept, 'application/json');
    const asked = askedReview(await text(request));
    this.reviews.push(asked);
    const spec = { token: asked.token, audiences: asked.audiences };
    const status = await this.#statusOf(asked);
    answerJson(response, 201, {
      ...{ kind: 'TokenReview', apiVersion: 'authentication.k8s.io/v1' },
      ...{ metadata: { creationTimestamp: null }, spec, status },
    });
  }

  async #statusOf({ token, audiences }: AskedReview): Promise<object> {
    const claims = await this.#claims(token);
    if (claims === undefined) return { user: {}, error: '[invalid bearer token, token lookup failed]' };
    const known = this.#users.get(token);
    const aud = [claims.aud ?? []].flat();
    const common = audiences.filter((one) => aud.includes(one));
    if (this.knowsAudiences && common.length === 0) {
      const error = `token audiences [${aud.join(' ')}] is invalid for the target audiences [${audiences.join(' ')}]`;
      return { user: {}, error: `[invalid bearer token, ${error}]` };
    }
    const bound = claims['kubernetes.io'] as Bound;
    if (this.#deleted.has(`${bound.namespace}/${bound.pod?.name}`)) {
      return { user: {}, error: '[invalid bearer token, service account token has been invalidated]' };
    }
    const user = known ?? userOf(claims.sub ?? '', bound);
    return { authenticated: true, user, ...(this.knowsAudiences && { audiences: common }) };
  }

  /** @returns the token. @throws Refusal 401 */
  async #authenticate(authorization: string | undefined): Promise<string> {
    const token = /^Bearer (\S+)$/.exec(authorization ?? '')?.[1];
    if (token === undefined || (await this.#claims(token)) === undefined)
      throw new Refusal(401, 'Unauthorized');
    return token;
  }

  async #claims(token: string): Promise<JWTPayload | undefined> {
    try {
      const keys = createLocalJWKSet({ keys: [this.#key.jwk] });
      return (await jwtVerify(token, keys, { issuer: this.issuer, algorithms: ['ES256'] })).payload;
    } catch {
      return undefined;
    }
  }
}

interface Bound {
  readonly namespace: string;
  readonly serviceaccount: { readonly name: string; readonly uid: string };
  readonly pod?: { readonly name: string; readonly uid: string };
  readonly node?: { readonly name: string; readonly uid: string };
}

function userOf(username: string, { namespace, serviceaccount, pod, node }: Bound): object {
  const extra = (key: string, value: string | undefined) =>
    value === undefined ? {} : { [`authentication.kubernetes.io/${key}`]: [value] };
  return {
    username,
    uid: serviceaccount.uid,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    extra: {
      ...extra('credential-id', `JTI=${randomUUID()}`),
      ...{ ...extra('pod-name', pod?.name), ...extra('pod-uid', pod?.uid) },
      ...{ ...extra('node-name', node?.name), ...extra('node-uid', node?.uid) },
    },
  };
}

/** As strict as it can be: what a real server would forgive is a mistake of ours all the same. */
function askedReview(body: string): AskedReview {
  let parsed: Record<string, unknown>;
  try {
    parsed = JSON.parse(body) as Record<string, unknown>;
  } catch {
    throw new Refusal(400, 'the object provided is unrecognized');
  }
  const { apiVersion, kind, spec, ...more } = parsed;
  if (apiVersion !== 'authentication.k8s.io/v1' || kind !== 'TokenReview') {
    throw new Refusal(400, 'does not match the expected apiVersion and kind');
  }
  const { token, audiences, ...others } = (spec ?? {}) as Record<string, unknown>;
  const unknown = [...Object.keys(more), ...Object.keys(others)];
  if (unknown.length > 0) throw new Refusal(400, `strict decoding error: unknown field ${unknown[0]}`);
  if (typeof token !== 'string' || token === '') throw new Refusal(422, 'spec.token: required');
  const isList = Array.isArray(audiences) && audiences.length > 0;
  if (!isList || !audiences.every((one) => typeof one === 'string')) {
    throw new Refusal(422, 'spec.audiences: without them any token of the cluster would do');
  }
  return { token, audiences };
}

function demandAccepted(accept: string | undefined, type: string): void {
  const accepted = (accept ?? '*/*').split(',').map((one) => one.split(';')[0]?.trim());
  if (!accepted.includes(type) && !accepted.includes('*/*')) throw new Refusal(406, 'not acceptable');
}

function answerJson(response: ServerResponse, status: number, body: object, type = 'application/json'): void {
  response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body));
}

function refuse(response: ServerResponse, error: unknown): void {
  const code = error instanceof Refusal ? error.code : 500;
  const message = error instanceof Error ? error.message : String(error);
  answerJson(response, code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code });
}
