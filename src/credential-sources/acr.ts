import {
  type CallOptions,
  type Clock,
  type Credential,
  type CredentialSource,
  type CredentialTarget,
  type DriverDependencies,
  defineDriver,
} from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { HttpCaller } from '../outgoing/http-caller.js';
import { isAcrHost } from '../reference/acr-host.js';
import type { EntraIdentity } from './acr/entra-token.js';
import { exchangeToken } from './acr/exchange.js';
import { openIdentity } from './acr/open-identity.js';
import { type AcrSettings, acrSettings } from './acr/settings.js';

/** Azure Container Registry: an identity of Entra ID, whose token each registry takes for a refresh token of its own. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'acr',
  config: acrSettings,
  async open(settings: AcrSettings, dependencies: DriverDependencies) {
    const identity = await openIdentity(settings, process.env, dependencies);
    const http = await HttpCaller.open(settings, dependencies.baseDirectory);
    return new AcrSource(identity, http, new Set(settings.registryHosts), dependencies.clock);
  },
});

class AcrSource implements CredentialSource {
  readonly #identity: EntraIdentity;
  readonly #http: HttpCaller;
  readonly #named: ReadonlySet<string>;
  readonly #clock: Clock;

  constructor(identity: EntraIdentity, http: HttpCaller, named: ReadonlySet<string>, clock: Clock) {
    this.#identity = identity;
    this.#http = http;
    this.#named = named;
    this.#clock = clock;
  }

  /** A registry's refresh token is good for all its repositories. */
  keyFor({ registry }: CredentialTarget): string {
    return registry;
  }

  async credentialFor({ registry }: CredentialTarget, { signal }: CallOptions): Promise<Credential> {
    signal.throwIfAborted();
    this.#check(registry);
    const { tenant } = this.#identity;
    const accessToken = await this.#identity.accessToken({ signal });
    return exchangeToken(this.#http, { registry, accessToken, tenant, now: this.#clock.now(), signal });
  }

  async close(): Promise<void> {
    await Promise.all([this.#identity.close(), this.#http.close()]);
  }

  /** Whoever is shown the token can be us at every registry of the tenant (threat 7). */
  #check(registry: string): void {
    if (isAcrHost(registry) || this.#named.has(registry)) return;
    throw new RegistryError('UNAVAILABLE', {
      reason: `${registry} is not named as registries of Azure are: no token is sent there. If it is one, name it in registryHosts`,
    });
  }
}
