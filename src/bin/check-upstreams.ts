import type { Configuration } from '../config/configuration.js';
import { isMapping, type Mapping } from '../config/mapping.js';
import { printPath } from '../config/problem.js';
import { isAcrHost } from '../reference/acr-host.js';
import { parseEcrHost } from '../reference/ecr-host.js';
import { isGoogleHost } from '../reference/google-host.js';
import { presetFor } from '../upstreams/presets/index.js';

/** Something about an upstream that its settings tell, and nobody need be asked for. */
export interface UpstreamRemark {
  readonly setting: string;
  readonly message: string;
}

/** One credential source of a registry. */
interface Pair {
  /** `upstreams.gcr`. */
  readonly setting: string;
  /** The registry as its credential sources see it: `host[:port]`. */
  readonly registry: string;
  readonly upstream: Mapping;
  readonly type: string;
  /** `upstreams.gcr.credentials`. */
  readonly place: string;
  readonly credentials: Mapping;
}

/** Credentials that can never be had for their registry: their sources refuse it each time. */
export function credentialProblems(configuration: Configuration): readonly UpstreamRemark[] {
  return pairs(configuration).flatMap((pair) => {
    const message = neverHad(pair);
    return message === undefined ? [] : [{ setting: pair.place, message }];
  });
}

/** What serves, and hardly as it was meant. */
export function upstreamWarnings(configuration: Configuration): readonly UpstreamRemark[] {
  const all = pairs(configuration).flatMap((pair) => [
    ...nearMisses(pair),
    ...regionWarnings(pair),
    ...reachWarnings(pair),
  ]);
  const once = new Map(all.map((remark) => [`${remark.setting}: ${remark.message}`, remark]));
  return [...once.values()];
}

function pairs({ upstreams }: Configuration): readonly Pair[] {
  return [...upstreams].flatMap(([id, { upstream, credentials }]) => {
    const { driver, config } = upstream;
    if (driver.type !== 'registry' || !isMapping(config) || !(config.url instanceof URL)) return [];
    const { credentialHost, registry = config.url } = presetFor(config.url);
    return credentials.map(({ setting: place, source }) => ({
      setting: printPath(['upstreams', id]),
      registry: credentialHost ?? registry.host,
      upstream: config,
      type: source.driver.type,
      place,
      credentials: isMapping(source.config) ? source.config : {},
    }));
  });
}

function neverHad({ registry, type, credentials }: Pair): string | undefined {
  const { registryHosts } = credentials;
  const isNamed = Array.isArray(registryHosts) && registryHosts.includes(registry);
  const naming = `: if it is one under a name of its own, write \`registryHosts: [${registry}]\``;
  switch (type) {
    case 'acr':
      return isAcrHost(registry) || isNamed
        ? undefined
        : `${registry} is no registry of Azure's (NAME.azurecr.io)${naming}`;
    case 'gcp':
      return isGoogleHost(registry) || isNamed
        ? undefined
        : `${registry} is no registry of Google's (gcr.io, LOCATION-docker.pkg.dev)${naming}`;
    case 'ecr':
      return parseEcrHost(registry) !== undefined || credentials.region !== undefined
        ? undefined
        : `${registry} is no registry of Amazon's (${ecrForm}): if it is one under a name of its own, set \`region\``;
    default:
      return undefined;
  }
}

const ecrForm = 'ACCOUNT.dkr.ecr.REGION.amazonaws.com';

/** Names of a cloud's, none of them a registry's. What has a port of its own is somebody else's. */
const families: readonly {
  readonly like: RegExp;
  readonly isOne: (host: string) => boolean;
  readonly form: string;
}[] = [
  { like: /(?:^|\.)azurecr\.(?:io|cn|us)$/, isOne: isAcrHost, form: 'NAME.azurecr.io' },
  { like: /(?:^|[.-])pkg\.dev$/, isOne: isGoogleHost, form: 'LOCATION-docker.pkg.dev' },
  {
    like: /(?:^|\.)ecr\.aws$/,
    isOne: (host) => parseEcrHost(host) !== undefined,
    form: 'public.ecr.aws',
  },
  {
    like: /(?:^|[.-])ecr(?:-fips)?\.(?:.+\.)?(?:amazonaws\.(?:com|com\.cn|eu)|on\.aws)$/,
    isOne: (host) => parseEcrHost(host) !== undefined,
    form: ecrForm,
  },
];
/** Whoever chose these has said whose registry it is. */
const cloudTypes = ['acr', 'ecr', 'gcp'];

function nearMisses({ setting, registry, type }: Pair): readonly UpstreamRemark[] {
  const family = families.find(({ like, isOne }) => like.test(registry) && !isOne(registry));
  if (family === undefined || cloudTypes.includes(type)) return [];
  const asked = type === 'anonymous' ? '; it is asked anonymously' : '';
  return [{ setting: `${setting}.url`, message: `${registry} is not of the form ${family.form}${asked}` }];
}

const known =
  /^[a-z]{2,4}(?:-[a-z]{2,4})?-(?:north|south|east|west|central|northeast|northwest|southeast|southwest)-\d$/;

function regionWarnings({ setting, registry, type, place, credentials }: Pair): readonly UpstreamRemark[] {
  const host = parseEcrHost(registry);
  const of = host?.kind === 'private' ? host.region : undefined;
  const doubt = (region: string) => `${region} looks like no region of AWS, such as eu-west-1`;
  const ofHost =
    of !== undefined && !known.test(of) ? [{ setting: `${setting}.url`, message: doubt(of) }] : [];
  const { region } = credentials;
  if (type !== 'ecr' || typeof region !== 'string' || host?.kind === 'public') return ofHost;
  const own = { setting: `${place}.region` };
  if (of !== undefined && region !== of) {
    return [
      ...ofHost,
      { ...own, message: `a token of ${region} opens nothing in ${of}, where the registry is` },
    ];
  }
  return known.test(region) ? ofHost : [...ofHost, { ...own, message: doubt(region) }];
}

/** That the upstream's own do not count for its credentials is what nobody expects. */
function reachWarnings({ upstream, type, place, credentials }: Pair): readonly UpstreamRemark[] {
  if (!cloudTypes.includes(type)) return [];
  // Metadata servers are asked directly.
  const hasKey = credentials.keyFile !== undefined || process.env.GOOGLE_APPLICATION_CREDENTIALS;
  if (type === 'gcp' && !hasKey) return [];
  const missing = ['proxy', 'ca'].filter(
    (key) => upstream[key] !== undefined && credentials[key] === undefined,
  );
  if (missing.length === 0) return [];
  const keys = missing.map((key) => `\`${key}\``).join(' and ');
  return [
    {
      setting: place,
      message: `${keys} of the upstream ${missing.length > 1 ? 'do' : 'does'} not count for its credentials: where they need it too, write it here`,
    },
  ];
}
