/** A host name clients reach us by. Each is a service, that is an audience, of its own. */
export interface ServedHost {
  /** `docker.example.com`, with the port where it is not the scheme's default. */
  readonly service: string;
  /** Where clients get tokens: on this host, built from the configuration, never from a request. */
  readonly realm: string;
}

/** The hosts served: the external URL's, and those that routes name; a host without port has the external URL's. */
export class ServedHosts {
  readonly #externalUrl: URL;
  readonly #default: ServedHost;
  readonly #byName: ReadonlyMap<string, ServedHost>;

  constructor(externalUrl: URL, hosts: readonly string[]) {
    const defaultPort = externalUrl.protocol === 'https:' ? '443' : '80';
    this.#externalUrl = externalUrl;
    this.#default = this.#served(externalUrl.host);
    const all = [this.#default, ...hosts.map((host) => this.#served(host))];
    this.#byName = new Map(
      // A Host header may spell out the default port.
      all.flatMap((host) => {
        const bare =
          new URL(host.realm).port === '' ? [[`${host.service}:${defaultPort}`, host] as const] : [];
        return [[host.service, host] as const, ...bare];
      }),
    );
  }

  /** All audiences. */
  get services(): readonly string[] {
    return [...new Set([...this.#byName.values()].map((host) => host.service))];
  }

  /** The host a request is for. An unknown one (an address, a health check) counts as the external URL's. */
  find(hostHeader: string | undefined): ServedHost {
    return this.#byName.get(hostHeader?.toLowerCase() ?? '') ?? this.#default;
  }

  /** @param host as a route names it */
  named(host: string): ServedHost | undefined {
    return this.#byName.get(this.#served(host).service);
  }

  #served(host: string): ServedHost {
    const url = new URL(`${this.#externalUrl.protocol}//${host}`);
    if (!/:\d+$/.test(host)) url.port = this.#externalUrl.port;
    return { service: url.host, realm: `${url.origin}/token` };
  }
}
