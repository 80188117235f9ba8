import { type EcrApi, ecrUser } from './ecr-api.js';
import { type StorageHost, startStorageHost } from './front-storage-host.js';
import type { Storage } from './storage.js';
import type { Exchange, World } from './world.js';

export interface EcrRegistry {
  /** `ACCOUNT.dkr.ecr.REGION.amazonaws.com`: for `url`. */
  readonly host: string;
  /** Where its blobs are. */
  readonly storageHost: StorageHost;
  /** There before any push. */
  addRepository(name: string): void;
}

const version = { 'docker-distribution-api-version': 'registry/2.0' };
const expired = 'Your authorization token has expired. Reauthenticate and try again.';

/** A private registry of Amazon ECR before the storage. */
export function startEcrRegistry(world: World, storage: Storage, api: EcrApi, account: string): EcrRegistry {
  const host = `${account}.dkr.ecr.${api.region}.amazonaws.com`;
  const storageHost = startStorageHost(world, storage, {
    host: `prod-${api.region}-starport-layer-bucket.s3.${api.region}.amazonaws.com`,
    prefix: '/',
    refusesHead: true,
  });
  world.host(host, (exchange) => {
    const { url, record } = exchange;
    const user = ecrUser(api, exchange);
    if (user === 'none' || user === 'wrong') {
      const challenge = `Basic realm="https://${host}/",service="ecr.amazonaws.com"`;
      return exchange.text(401, 'Not Authorized\n', { ...version, 'www-authenticate': challenge });
    }
    if (user === 'expired') return fail(exchange, 403, 'DENIED', expired);
    if (url.pathname === '/v2/') return exchange.json(200, {}, version);
    const name = /^\/v2\/(.+?)\/(?:manifests|blobs|tags|referrers)\//.exec(url.pathname)?.[1];
    if (name === undefined) return fail(exchange, 405, 'UNSUPPORTED', 'The operation is unsupported');
    if (!api.repositories.has(`${account}/${name}`)) {
      const message = `The repository with name '${name}' does not exist in the registry with id '${account}'`;
      return fail(exchange, 404, 'NAME_UNKNOWN', message);
    }
    const isBlob = /\/blobs\/sha256:[0-9a-f]{64}$/.test(url.pathname);
    if (isBlob && record.method === 'GET') return redirect(exchange, storageHost.sign(url.pathname));
    return storage.forward(exchange, { headers: version });
  });
  return {
    host,
    storageHost,
    addRepository: (name) => void api.repositories.add(`${account}/${name}`),
  };
}

export function redirect({ response }: Exchange, { href: location }: URL): void {
  response.writeHead(307, { location, 'content-length': '0' }).end();
}

export function fail(exchange: Exchange, status: number, code: string, message: string): void {
  exchange.json(status, { errors: [{ code, message }] }, version);
}
