import type { Configuration, ConfiguredCache } from '../config/configuration.js';
import type { BlobStore, Upstream } from '../contracts/index.js';
import { CachedUpstream } from '../pull-through/cached-upstream.js';
import { NotedWrites } from '../pull-through/noted-writes.js';
import type { OpenedUpstream } from './open-parts.js';
import type { Opened, Opener } from './opener.js';

/** The upstreams as they are served: those with a cache behind it. */
export async function openCaches(
  opener: Opener,
  { upstreams, routes }: Configuration,
  plain: ReadonlyMap<string, OpenedUpstream>,
): Promise<ReadonlyMap<string, OpenedUpstream>> {
  const served = new Map<string, OpenedUpstream>();
  for (const [id, upstream] of plain) {
    const ownRoutes = [...routes.entries()].filter(([, route]) => route.upstream === id);
    const caches = ownRoutes.flatMap(([i, { cache }]) => (cache === undefined ? [] : [[i, cache] as const]));
    const { cache } = upstreams.get(id) ?? {};
    served.set(id, { ...upstream, ...(await openCached(opener, id, upstream, { cache, caches })) });
  }
  return served;
}

interface CachesOfUpstream {
  readonly cache: ConfiguredCache | undefined;
  /** Of routes, by their places; `false`: none. */
  readonly caches: readonly (readonly [number, ConfiguredCache | false])[];
}

/** The upstream with its cache, and for the routes that say otherwise with theirs. */
async function openCached(
  opener: Opener,
  id: string,
  plain: Opened<Upstream>,
  { cache, caches }: CachesOfUpstream,
): Promise<Opened<Upstream> & Pick<OpenedUpstream, 'byRoute'>> {
  const stores = new Map<ConfiguredCache, Opened<BlobStore>>();
  for (const one of [cache, ...caches.map(([, ofRoute]) => ofRoute)]) {
    if (one) stores.set(one, await openStore(opener, one));
  }
  if (stores.size === 0) return { ...plain, byRoute: new Map() };
  const keys = [...stores.values()].map(({ key }) => key);
  // All of them hear of what is pushed by any route.
  const noted = await opener.share(
    ['noted', id, plain.key, ...keys],
    async () => new NotedWrites(plain.part, id, [...new Set([...stores.values()].map(({ part }) => part))]),
  );
  const through = async (one: ConfiguredCache | false | undefined): Promise<Opened<Upstream>> => {
    const store = one && stores.get(one);
    if (!one || !store) return noted;
    const { tagFreshness: tag, contentFreshness: content, missFreshness: miss } = one;
    const freshness = { tag, content, miss };
    const parts = { ...opener.surroundings, store: store.part, freshness, upstream: id };
    return opener.share(
      ['cached', noted.key, store.key, freshness],
      async () => new CachedUpstream(noted.part, parts),
    );
  };
  const byRoute = new Map<number, Upstream>();
  for (const [i, ofRoute] of caches) byRoute.set(i, (await through(ofRoute)).part);
  return { ...(await through(cache)), byRoute };
}

/** The same settings mean the same store, wherever they stand. */
export function openStore(
  opener: Opener,
  { setting, store }: ConfiguredCache,
  access: 'owner' | 'guest' = 'owner',
): Promise<Opened<BlobStore>> {
  return opener.open(setting, 'cache', store, { access });
}
