import { randomBytes } from 'node:crypto';
import { type EcrApi, ecrUser } from './ecr-api.js';
import { fail, redirect } from './ecr-registry.js';
import { type StorageHost, startStorageHost } from './front-storage-host.js';
import type { Storage } from './storage.js';
import type { World } from './world.js';

export interface EcrPublicRegistry {
  readonly host: string;
  readonly storageHost: StorageHost;
  /** Tokens that were given, in order: to whom. */
  readonly tokens: ('anonymous' | 'AWS')[];
  /** The tokens themselves, without those for nobody in particular. */
  readonly given: string[];
  /** Every token that was given out is refused from now on. */
  revokeTokens(): void;
}

const host = 'public.ecr.aws';
const challenge = `Bearer realm="https://${host}/token/",service="${host}",scope="aws"`;
const version = { 'docker-distribution-api-version': 'registry/2.0' };
const expired = 'Your authorization token has expired. Reauthenticate and try again.';

/** Amazon ECR Public before the storage: whoever has a token of it may pull, with AWS credentials push. */
export function startEcrPublicRegistry(world: World, storage: Storage, api: EcrApi): EcrPublicRegistry {
  const known = new Map<string, 'anonymous' | 'AWS'>();
  const storageHost = startStorageHost(world, storage, {
    host: 'd5l0dvt14r5h8.cloudfront.net',
    prefix: '/',
    refusesHead: true,
  });
  const tokens: ('anonymous' | 'AWS')[] = [];
  const given: string[] = [];
  world.host(host, (exchange) => {
    const { url, record } = exchange;
    if (url.pathname === '/token/' || url.pathname === '/token') {
      const user = ecrUser(api, exchange);
      if (user === 'expired') return fail(exchange, 403, 'DENIED', expired);
      if (user === 'wrong') return fail(exchange, 401, 'UNAUTHORIZED', 'Not Authorized');
      const token = randomBytes(200).toString('base64');
      const whose = user === 'none' ? 'anonymous' : 'AWS';
      known.set(token, whose);
      tokens.push(whose);
      if (whose === 'AWS') given.push(token);
      return exchange.json(200, { token });
    }
    const who = known.get((record.headers.authorization ?? '').replace(/^Bearer /, ''));
    const isBlob = /\/blobs\/sha256:[0-9a-f]{64}$/.test(url.pathname);
    // Its front answers so whatever token is shown.
    if (who === undefined || (isBlob && record.method === 'HEAD')) {
      return exchange.text(401, 'Not Authorized\n', { ...version, 'www-authenticate': challenge });
    }
    if (url.pathname === '/v2/') return exchange.json(200, {}, version);
    const reads = record.method === 'GET' || record.method === 'HEAD';
    if (!reads && who !== 'AWS') return fail(exchange, 403, 'DENIED', 'not authorized');
    if (isBlob && record.method === 'GET') return redirect(exchange, storageHost.sign(url.pathname));
    return storage.forward(exchange, { headers: version });
  });
  return { host, storageHost, tokens, given, revokeTokens: () => known.clear() };
}
