import type { Configuration, ConfiguredCredential } from '../config/configuration.js';
import type {
  CredentialSource,
  Policy,
  StateStore,
  TokenIssuer,
  Upstream,
  Verifier,
} from '../contracts/index.js';
import { RefreshedCredentials } from '../decorators/refreshed-credentials.js';
import { SeveralCredentials } from '../decorators/several-credentials.js';
import { UsualCredentials } from '../decorators/usual-credentials.js';
import { RouteTable } from '../routing/route-table.js';
import { ServedHosts } from '../routing/served-host.js';
import type { Opened, Opener } from './opener.js';

export interface OpenedUpstream extends Opened<Upstream> {
  /** Of the routes that reach it in a way of their own, by their places in the configuration. */
  readonly byRoute: ReadonlyMap<number, Upstream>;
  /** Gets its credentials now, and from now on before they are needed. Never throws and never waits. */
  keepReady(): void;
}

/** Without their caches. */
export async function openUpstreams(
  opener: Opener,
  { upstreams }: Configuration,
): Promise<ReadonlyMap<string, OpenedUpstream>> {
  const opened = new Map<string, OpenedUpstream>();
  for (const [id, { upstream, credentials }] of upstreams) {
    // Its settings say which registry it is: what was had for another one must not be gone on with.
    const { source, refreshed } = await openCredentials(opener, id, credentials, upstream.raw);
    const given = { credentials: source.part };
    const plain = await opener.open(`upstreams.${id}`, id, upstream, given, [source.key]);
    const keepReady = () => {
      for (const one of refreshed) one.keepReady({ registry: plain.part.registry });
    };
    opened.set(id, { ...plain, byRoute: new Map(), keepReady });
  }
  return opened;
}

interface OpenedCredentials {
  /** All of one upstream as one source. */
  readonly source: Opened<CredentialSource>;
  readonly refreshed: readonly RefreshedCredentials[];
}

/** @param registry what says which one it is, as JSON has it */
async function openCredentials(
  opener: Opener,
  upstream: string,
  credentials: readonly ConfiguredCredential[],
  registry: unknown,
): Promise<OpenedCredentials> {
  const { clock, log, metrics } = opener.surroundings;
  const opened: Opened<CredentialSource>[] = [];
  const refreshed: RefreshedCredentials[] = [];
  for (const [i, { setting, source }] of credentials.entries()) {
    const { part: inner, key } = await opener.open(setting, upstream, source, {});
    const part = source.isUsual ? new UsualCredentials(inner, source.driver.type) : inner;
    const settings = { clock, log, metrics, upstream, credential: i + 1 };
    if (source.driver.type === anonymous) {
      opened.push({ part, key });
      continue;
    }
    const one = await opener.share(
      ['refreshed', i, source.isUsual, key, registry],
      async () => new RefreshedCredentials(part, settings),
    );
    opened.push(one);
    refreshed.push(one.part);
  }
  const [only] = opened;
  if (only !== undefined && opened.length === 1) return { source: only, refreshed };
  const several = await opener.share(
    ['several', ...opened.map(({ key }) => key)],
    async () =>
      new SeveralCredentials(
        opened.map(({ part }) => part),
        { clock, log, upstream },
      ),
  );
  return { source: several, refreshed };
}

/** It has nothing to refresh, and nothing that could be missing. */
const anonymous = 'anonymous';

export function openState(opener: Opener, { state }: Configuration): Promise<Opened<StateStore>> {
  return opener.open('state', 'state', state, { access: 'owner' });
}

/** @param i its place in the configuration */
export function openVerifier(
  opener: Opener,
  { verifiers }: Configuration,
  i: number,
  state: Opened<StateStore>,
): Promise<Opened<Verifier>> {
  const setting = verifiers[i];
  if (setting === undefined) throw new RangeError(`there is no verifier ${i}`);
  return opener.open(`verifiers[${i}]`, setting.id, setting.driver, { state: state.part }, [state.key]);
}

export async function openPolicy(opener: Opener, configuration: Configuration): Promise<Policy> {
  const given = {
    verifiers: configuration.verifiers.map(({ id }) => id),
    mergedVerifiers: configuration.mergedVerifiers,
    services: servedHosts(configuration).services,
  };
  return (await opener.open('policy', 'policy', configuration.policy, given, [given])).part;
}

export async function openIssuer(
  opener: Opener,
  { token, externalUrl }: Configuration,
): Promise<Opened<TokenIssuer>> {
  const given = { issuer: externalUrl.origin };
  return opener.open('token', 'token', token.issuer, given, [given]);
}

function servedHosts({ externalUrl, routes }: Configuration): ServedHosts {
  return new ServedHosts(
    externalUrl,
    routes.flatMap((route) => route.host ?? []),
  );
}

export function routeTable(
  { externalUrl, routes }: Configuration,
  upstreams: ReadonlyMap<string, OpenedUpstream>,
): RouteTable {
  const withWays = routes.map((route, i) => {
    const by = upstreams.get(route.upstream)?.byRoute.get(i);
    return by === undefined ? route : { ...route, by };
  });
  return new RouteTable(externalUrl, withWays, new Map([...upstreams].map(([id, { part }]) => [id, part])));
}
