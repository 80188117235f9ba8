import type { BearerFront, FrontWorld } from '../../clouds/harness/front-bearer.js';
import { hostsThatSaw } from '../../clouds/harness/front-secrets.js';
import { type Storage, startStorage } from '../../clouds/harness/storage.js';
import { startWorld, type World } from '../../clouds/harness/world.js';
import type { Workspace } from './workspace.js';

/** Where a registry of the world is put, and how our proxy gets there. */
export interface CloudSite {
  readonly workspace: Workspace;
  readonly world: World;
  readonly storage: Storage;
  /** `proxy` and `ca`, for an upstream and for a credential source. */
  readonly way: { readonly proxy: string; readonly ca: string };
  /** Closed with the rest. */
  onClose(close: () => Promise<void>): void;
  /** @returns the name of a file that holds it, as the configuration writes it */
  secretFile(name: string, text: string): string;
}

/** One registry for real clients. */
export interface Cloud {
  /** Of the upstream, and of the route: `hub` is at `hub/`. */
  readonly name: string;
  start(site: CloudSite): Promise<StartedCloud> | StartedCloud;
}

/** What is asked of a cloud before a registry lets somebody in. */
export interface CloudAsked {
  /** Who the machine is: of its metadata server. 0 where the configuration says it. */
  readonly identities: number;
  /** Credentials for the registry: from a metadata server, an API, an exchange. 0 where the configuration has them. */
  readonly credentials: number;
  /** At the registry's token endpoint, with their scopes; none where the registry has no tokens. */
  readonly tokens: readonly (readonly string[])[];
}

export interface StartedCloud {
  /** Where its registry is. */
  readonly host: string;
  /** Settings; `proxy` and `ca` are filled in. */
  readonly upstream: Readonly<Record<string, unknown>> & { readonly url: string };
  /** What the machine tells programs on it. */
  readonly env?: NodeJS.ProcessEnv;
  /** What was secret by now, and the hosts it is for. */
  secrets(): readonly CloudSecret[];
  /** How often, until now. */
  asked(): CloudAsked;
  /** Nothing that was given out until now is good any more: neither credentials nor tokens. A password stays. */
  revoke(): void;
  /** How long credentials and tokens live that are given from now on. Not for a cloud that gives none. @param life seconds */
  shorten?(life: number): void;
  /** Tokens alone, where they outlive the credential they were had with. */
  revokeTokens?(): void;
  /** Where a repository must be there before anybody pulls from it. */
  addRepository?(name: string): void;
}

export interface CloudSecret {
  readonly secret: string;
  /** Where it is a password, for what Basic sends. */
  readonly username?: string;
  readonly hosts: readonly string[];
}

/** A registry that takes a user and a password out of a file. */
export function passwordCloud(
  name: string,
  url: string,
  username: string,
  start: (surroundings: FrontWorld) => BearerFront,
): Cloud {
  return {
    name,
    start: ({ world, storage, secretFile }) => {
      const password = `${name}:pa+ss/%3d word`;
      const front = start({ world, storage, accounts: [{ username, password, may: ['pull', 'push'] }] });
      const file = secretFile(`${name}-password`, password);
      return {
        host: front.host,
        upstream: { url, credentials: { type: 'static', username, password: { file } } },
        asked: () => ({ identities: 0, credentials: 0, tokens: front.logins.map(({ scopes }) => scopes) }),
        revoke: () => front.revokeTokens(),
        secrets: () => [
          { secret: password, username, hosts: [front.tokenHost] },
          ...front.tokens.map((secret) => ({ secret, hosts: [front.host] })),
          ...(front.storageHost?.signatures ?? []).map((secret) => ({
            secret,
            hosts: [String(front.storageHost?.host)],
          })),
        ],
      };
    },
  };
}

export interface Clouds {
  readonly world: World;
  readonly storage: Storage;
  /** @throws an Error where no cloud is called so */
  cloud(name: string): StartedCloud;
  /** Of the proxy. */
  readonly upstreams: Readonly<Record<string, object>>;
  readonly routes: readonly object[];
  readonly env: NodeJS.ProcessEnv;
  secrets(): readonly CloudSecret[];
  /** Secrets that a host saw which they are not for: `HOST saw …`, without the secret. */
  leaks(): readonly string[];
}

/** Starts them all: names `CLOUD/NAME` of the proxy are `acme/CLOUD/NAME` there. */
export async function startClouds(workspace: Workspace, clouds: readonly Cloud[]): Promise<Clouds> {
  const world = await startWorld();
  workspace.onClose(() => world.close());
  const storage = await startStorage(workspace);
  const way = { proxy: world.proxyUrl, ca: workspace.file('proxy/world.pem', world.authority) };
  const started = new Map<string, StartedCloud>();
  for (const cloud of clouds) {
    const site: CloudSite = {
      ...{ workspace, world, storage, way },
      onClose: (close) => workspace.onClose(close),
      secretFile: (name, text) => workspace.file(`proxy/${name}`, text),
    };
    started.set(cloud.name, await cloud.start(site));
  }
  const all = [...started];
  const secrets = () => all.flatMap(([, cloud]) => cloud.secrets());
  return {
    world,
    storage,
    cloud: (name) => {
      const cloud = started.get(name);
      if (cloud === undefined) throw new Error(`no cloud is called ${name}`);
      return cloud;
    },
    upstreams: Object.fromEntries(all.map(([name, { upstream }]) => [name, { ...way, ...upstream }])),
    routes: all.map(([name]) => ({ prefix: `${name}/`, upstream: name, rewrite: `acme/${name}/` })),
    env: Object.assign({}, ...all.map(([, { env }]) => env)),
    secrets,
    leaks: () =>
      secrets().flatMap(({ secret, username, hosts }) =>
        hostsThatSaw(world, secret, username)
          .filter((host) => !hosts.includes(host))
          .map((host) => `${host} saw what is for ${hosts.join(', ')}`),
      ),
  };
}
