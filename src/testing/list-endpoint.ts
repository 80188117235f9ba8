import { RegistryError } from '../errors.js';
import { printLink } from '../protocol/link.js';
import { type Answer, type Exchange, jsonAnswer } from './answer.js';
import { mediaTypes } from './manifest-document.js';
import { type MemoryStore, requireRepository } from './memory-store.js';

export interface ListSettings {
  readonly store: MemoryStore;
  /** Names a page where the client does not say. */
  readonly pageSize: number;
  /** Prefixed to the target of `Link`; empty for a relative one. */
  readonly linkOrigin: () => string;
}

/** OCI distribution-spec v1.1, "Listing Tags". */
export function tagsEndpoint(exchange: Exchange, repository: string, settings: ListSettings): Answer {
  requireGet(exchange);
  requireRepository(settings.store, repository);
  const { names, headers } = page(exchange, settings.store.tags(repository), settings);
  return jsonAnswer(200, { name: repository, tags: names }, headers);
}

/** distribution's `GET /v2/_catalog`. */
export function catalogEndpoint(exchange: Exchange, settings: ListSettings): Answer {
  requireGet(exchange);
  const { names, headers } = page(exchange, settings.store.repositories(), settings);
  return jsonAnswer(200, { repositories: names }, headers);
}

/** OCI distribution-spec v1.1, "Listing Referrers". */
export function referrersEndpoint(
  exchange: Exchange,
  repository: string,
  digest: string,
  store: MemoryStore,
): Answer {
  requireGet(exchange);
  requireRepository(store, repository);
  const wanted = exchange.url.searchParams.get('artifactType');
  const manifests = store
    .referrers(repository, digest)
    .filter((descriptor) => wanted === null || descriptor.artifactType === wanted);
  return jsonAnswer(
    200,
    { schemaVersion: 2, mediaType: mediaTypes.index, manifests },
    {
      'content-type': mediaTypes.index,
      ...(wanted !== null && { 'oci-filters-applied': 'artifactType' }),
    },
  );
}

function requireGet(exchange: Exchange): void {
  if (exchange.method !== 'GET') throw new RegistryError('UNSUPPORTED');
}

function page(exchange: Exchange, all: readonly string[], settings: ListSettings) {
  const query = exchange.url.searchParams;
  const last = query.get('last');
  const asked = query.get('n') ?? String(settings.pageSize);
  if (!/^\d{1,9}$/.test(asked)) throw new RegistryError('UNSUPPORTED', { status: 400, message: 'invalid n' });
  const size = Number(asked);
  const rest = last === null ? all : all.filter((name) => name > last);
  const names = rest.slice(0, size);
  const final = names.at(-1);
  if (final === undefined || names.length === rest.length) return { names, headers: {} };
  const next = new URLSearchParams({ last: final, n: String(size) });
  const target = `${settings.linkOrigin()}${exchange.url.pathname}?${next}`;
  return { names, headers: { link: printLink({ target, parameters: new Map([['rel', 'next']]) }) } };
}
