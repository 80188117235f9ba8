import type { Configuration } from '../config/configuration.js';
import type { StateStore, Verifier } from '../contracts/index.js';
import { CacheVerifier } from '../decorators/cache-verifier.js';
import { ChainVerifier } from '../decorators/chain-verifiers.js';
import { ThrottleVerifier } from '../decorators/throttle-verifier.js';
import { adminHandler } from '../http/admin.js';
import { FrontServer } from '../http/front-server.js';
import { Listener } from '../http/listener.js';
import type { PrometheusMetrics } from '../observability/prometheus-metrics.js';
import { RegistryService } from '../proxy/registry-service.js';
import { AddressRanges } from '../settings/address-range.js';
import { RefreshTokens } from '../token/refresh-tokens.js';
import { TokenService } from '../token/token-service.js';
import {
  Opener,
  openIssuer,
  openPolicy,
  openUpstreams,
  openVerifiers,
  routeTable,
  type Surroundings,
} from './open-parts.js';
import { TlsFiles } from './tls-files.js';

/** Milliseconds a verified password is remembered, and so still accepted after it was changed. */
const verifiedPasswordTtl = 30_000;

/** A proxy that is serving. */
export interface RunningProxy {
  /** Where it listens; the port is known even where the configuration says 0. */
  readonly address: { readonly address: string; readonly port: number };
  readonly adminAddress?: { readonly address: string; readonly port: number };
  /** Lets requests in progress finish, up to the configured time, and closes everything. */
  stop(): Promise<void>;
}

export type ProxySurroundings = Surroundings & { readonly metrics: PrometheusMetrics };

/** @throws OpeningError or an Error with a one-line message; nothing is left open then */
export async function startProxy(
  configuration: Configuration,
  surroundings: ProxySurroundings,
): Promise<RunningProxy> {
  const opener = new Opener(configuration, surroundings);
  const listeners: Listener[] = [];
  let isReady = false;
  try {
    const front = await openFront(opener, configuration, surroundings);
    const tls = configuration.tls && (await TlsFiles.open(configuration.tls, configuration.baseDirectory));
    const listener = await Listener.open({
      ...configuration.listen,
      ...(tls && { tls: tls.pair }),
      handle: front.handle,
    });
    listeners.push(listener);
    const admin =
      configuration.admin &&
      (await Listener.open({
        ...configuration.admin.listen,
        handle: adminHandler({ metrics: surroundings.metrics, isReady: () => isReady }),
      }));
    if (admin) listeners.push(admin);
    // Last, for a failure above would leave it running.
    const stopWatching = tls?.watch((pair) => listener.replaceCertificate(pair), surroundings.log);
    isReady = true;
    return {
      address: listener.address,
      ...(admin && { adminAddress: admin.address }),
      async stop() {
        isReady = false;
        stopWatching?.();
        const { cut } = await listener.drain(configuration.drainTimeout);
        if (cut > 0)
          surroundings.log.warn({ requests: cut }, 'requests cut: they did not finish in drainTimeout');
        await admin?.drain(1000);
        await opener.close();
      },
    };
  } catch (error) {
    for (const listener of listeners) await listener.drain(0);
    await opener.close();
    throw error;
  }
}

async function openFront(
  opener: Opener,
  configuration: Configuration,
  surroundings: ProxySurroundings,
): Promise<FrontServer> {
  const { log, clock } = surroundings;
  const state = await opener.open('state', 'state', configuration.state, { access: 'owner' });
  const routes = routeTable(configuration, await openUpstreams(opener, configuration));
  const verifier = composeVerifiers(await openVerifiers(opener, configuration, state), surroundings);
  const policy = await openPolicy(opener, configuration);
  const tokens = await openIssuer(opener, configuration);
  const refreshTokens = openRefreshTokens(configuration, state, verifier, surroundings);
  return new FrontServer(
    {
      routes,
      registry: new RegistryService({ routes, verifier, policy, tokens, clock }),
      token: new TokenService({
        routes,
        verifier,
        policy,
        tokens,
        log,
        otherServices: configuration.token.services,
        ...(refreshTokens && { refreshTokens }),
      }),
      tokens,
      trustedProxies: new AddressRanges(configuration.trustedProxies),
      limits: configuration.limits,
    },
    surroundings,
  );
}

/** Who has logged in well lately is not slowed down by somebody else's guessing: the cache stands before the throttle. */
function composeVerifiers(verifiers: ReadonlyMap<string, Verifier>, { clock }: Surroundings): Verifier {
  return new CacheVerifier(
    new ThrottleVerifier(new ChainVerifier(verifiers), clock),
    clock,
    verifiedPasswordTtl,
  );
}

function openRefreshTokens(
  { token }: Configuration,
  state: StateStore,
  verifier: Verifier,
  { clock }: Surroundings,
): RefreshTokens | undefined {
  return token.refreshTokens && new RefreshTokens(state, verifier, clock, token.refreshTokens);
}
