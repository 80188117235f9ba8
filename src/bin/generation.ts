import type { Configuration } from '../config/configuration.js';
import type { Closable, StateStore, TokenIssuer, Verifier } from '../contracts/index.js';
import { CacheVerifier } from '../decorators/cache-verifier.js';
import { ChainVerifier } from '../decorators/chain-verifiers.js';
import { CheckedVerifier } from '../decorators/checked-verifier.js';
import { LimitedVerifier } from '../decorators/limit-usernames.js';
import { MeteredVerifier } from '../decorators/meter-verifier.js';
import { OwnTokensVerifier } from '../decorators/own-tokens.js';
import { ThrottleMemory, ThrottleVerifier } from '../decorators/throttle-verifier.js';
import type { FrontParts } from '../http/front-server.js';
import { Catalog } from '../proxy/catalog.js';
import { RegistryService } from '../proxy/registry-service.js';
import { AddressRanges } from '../settings/address-range.js';
import { RefreshTokens } from '../token/refresh-tokens.js';
import { TokenService } from '../token/token-service.js';
import type { Succeeding } from './generation-succession.js';
import { openAudit } from './open-audit.js';
import { openCaches } from './open-caches.js';
import {
  type OpenedUpstream,
  openIssuer,
  openPolicy,
  openState,
  openUpstreams,
  openVerifier,
  routeTable,
} from './open-parts.js';
import { openSignIn, type SignIn } from './open-sign-in.js';
import { type Opened, Opener, type Surroundings } from './opener.js';
import { PartPool } from './part-pool.js';

/** What one configuration was made into. */
export interface Generation extends Succeeding<Configuration> {
  readonly front: FrontParts;
}

/** What all generations share. */
export interface GenerationSurroundings extends Surroundings {
  /** Where audit lines go that have no file. */
  readonly stdout: { write(line: string): void };
  /** What a worker has in common with the others. */
  readonly shared?: { readonly state: StateStore; readonly throttle: ThrottleMemory };
}

/** Opens generations, each with the parts of earlier ones where it says the same about them. */
export class Generations {
  readonly #surroundings: GenerationSurroundings;
  readonly #pool = new PartPool();
  readonly #throttle: ThrottleMemory;

  constructor(surroundings: GenerationSurroundings) {
    this.#surroundings = surroundings;
    this.#throttle = surroundings.shared?.throttle ?? new ThrottleMemory();
  }

  /** How many parts are open, those of all generations together. */
  get openParts(): number {
    return this.#pool.size;
  }

  /** @throws OpeningError; nothing of it is left open then */
  async open(configuration: Configuration): Promise<Generation> {
    const opener = new Opener(configuration, this.#surroundings, this.#pool);
    try {
      const audit = await openAudit(opener, configuration, this.#surroundings);
      const { shared } = this.#surroundings;
      const state = shared ? { part: shared.state, key: 'shared' } : await openState(opener, configuration);
      const upstreams = await openCaches(opener, configuration, await openUpstreams(opener, configuration));
      const front = await this.#openFront(opener, configuration, state, upstreams);
      return {
        configuration,
        front: { ...front, ...(audit && { audit }) },
        keepReady: () => {
          for (const upstream of upstreams.values()) upstream.keepReady();
        },
        reopenFiles: () => audit?.reopen(),
        close: () => opener.close(),
      };
    } catch (error) {
      await opener.close();
      throw error;
    }
  }

  async #openFront(
    opener: Opener,
    configuration: Configuration,
    state: Opened<StateStore>,
    upstreams: ReadonlyMap<string, OpenedUpstream>,
  ): Promise<FrontParts> {
    const { log, clock } = this.#surroundings;
    const routes = routeTable(configuration, upstreams);
    const issuer = await openIssuer(opener, configuration);
    const { verifier, signIn } = await this.#openVerifiers(opener, configuration, state, issuer);
    const policy = await openPolicy(opener, configuration);
    const tokens = issuer.part;
    const { services: otherServices, refreshTokens: life } = configuration.token;
    const { clientCertificateHeader } = configuration;
    const refreshTokens = life && new RefreshTokens(state.part, verifier, clock, life);
    const parts = { routes, verifier, policy, tokens, clock, log };
    const listed = new Map([...upstreams].filter(([id]) => configuration.catalog.includes(id)).map(partOf));
    const catalog = listed.size > 0 ? new Catalog({ ...parts, upstreams: listed }) : undefined;
    return {
      routes,
      registry: new RegistryService({ ...parts, ...(catalog && { catalog }) }),
      token: new TokenService({
        ...parts,
        otherServices,
        catalog: catalog !== undefined,
        ...(refreshTokens && { refreshTokens }),
      }),
      tokens,
      trustedProxies: new AddressRanges(configuration.trustedProxies),
      ...(clientCertificateHeader !== undefined && { clientCertificateHeader }),
      limits: configuration.limits,
      ...(signIn && { signIn: signIn.part.service }),
    };
  }

  /**
   * Who has logged in well lately is not slowed down by somebody else's guessing: the cache stands before the throttle.
   * The cache lives as long as the verifiers stay the same, the throttle over every reload.
   */
  async #openVerifiers(
    opener: Opener,
    configuration: Configuration,
    state: Opened<StateStore>,
    tokens: Opened<TokenIssuer>,
  ): Promise<{ readonly verifier: Verifier; readonly signIn: Opened<SignIn> | undefined }> {
    const { clock, metrics } = this.#surroundings;
    const { rememberLogins } = configuration;
    const opened = new Map<string, Opened<Verifier>>();
    let signIn: Opened<SignIn> | undefined;
    for (const [i, { id, usernames }] of configuration.verifiers.entries()) {
      const { part, key } = await openVerifier(opener, configuration, i, state);
      const verifier = { part: new CheckedVerifier(part, id), key };
      if (id === configuration.signIn?.verifier) {
        signIn = await openSignIn(opener, configuration, this.#surroundings, { state, tokens, verifier });
      }
      const metered = new MeteredVerifier(verifier.part, id, metrics);
      opened.set(id, {
        part: usernames === undefined ? metered : new LimitedVerifier(metered, usernames),
        key: JSON.stringify([key, usernames?.map(String)]),
      });
    }
    const others = new ChainVerifier(new Map([...opened].map(partOf)));
    const all = new OwnTokensVerifier(others, signIn?.part.verifier);
    const keys = [...opened].map(([id, { key }]) => [id, key]);
    const composed = await opener.share(
      ['verifiers', rememberLogins, signIn?.key ?? null, ...keys],
      async (): Promise<Closable & { readonly verifier: Verifier }> => ({
        verifier: new CacheVerifier(
          new ThrottleVerifier(all, clock, undefined, this.#throttle),
          clock,
          rememberLogins,
        ),
        close: async () => {}, // the verifiers in it are closed one by one
      }),
    );
    return { verifier: composed.part.verifier, signIn };
  }
}

function partOf<T>([id, { part }]: readonly [string, Opened<T>]): readonly [string, T] {
  return [id, part];
}
