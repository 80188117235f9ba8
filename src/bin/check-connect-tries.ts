import type { Configuration, ConfiguredCredential, ConfiguredUpstream } from '../config/configuration.js';
import type { Log, ProbeOptions, ProbeStep, Upstream } from '../contracts/index.js';
import { openUpstreams } from './open-parts.js';
import { Opener, type Surroundings } from './opener.js';

/** How an upstream was got in at with one of its credentials. */
export interface Connection {
  /** Its name in the configuration. */
  readonly upstream: string;
  /** The host it speaks to. */
  readonly registry: string;
  readonly credential: {
    readonly type: string;
    /** The setting: `upstreams.hub.credentials[0]`. */
    readonly setting: string;
    /** Its place in the list, from 1; absent where it is the only one. */
    readonly place?: number;
    /** The registry's host chose the type. */
    readonly isUsual: boolean;
  };
  readonly steps: readonly ProbeStep[];
}

/**
 * Tries all upstreams at the same time, each with each of its credentials alone: of several the first would hide what
 * is wrong with the others. Sends the credentials to their registries.
 *
 * @param settings for each connection
 * @throws OpeningError; the signal's reason
 */
export async function tryConnections(
  { upstreams, ...configuration }: Configuration,
  surroundings: Surroundings,
  settings: ProbeOptions,
): Promise<readonly Connection[]> {
  const whole = { ...configuration, upstreams };
  const opener = new Opener(whole, { ...surroundings, log: silent });
  try {
    const opened: Omit<Connection & { readonly part: Upstream }, 'steps'>[] = [];
    for (const [upstream, configured] of upstreams) {
      for (const [i, credential] of configured.credentials.entries()) {
        const part = await openWith(opener, whole, upstream, { ...configured, credentials: [credential] });
        const place = configured.credentials.length > 1 ? i + 1 : undefined;
        opened.push({ upstream, registry: part.registry, credential: shown(credential, place), part });
      }
    }
    return await Promise.all(
      opened.map(async ({ part, ...connection }) => ({ ...connection, steps: await part.probe(settings) })),
    );
  } finally {
    await opener.close();
  }
}

/** What a step found is told by the table. */
const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

async function openWith(
  opener: Opener,
  configuration: Configuration,
  id: string,
  upstream: ConfiguredUpstream,
): Promise<Upstream> {
  const opened = await openUpstreams(opener, { ...configuration, upstreams: new Map([[id, upstream]]) });
  const part = opened.get(id)?.part;
  if (part === undefined) throw new RangeError(`there is no upstream ${id}`);
  return part;
}

function shown(
  { setting, source }: ConfiguredCredential,
  place: number | undefined,
): Connection['credential'] {
  const { driver, isUsual = false } = source;
  return { type: driver.type, setting, isUsual, ...(place !== undefined && { place }) };
}
