import { clientNetwork } from '../decorators/client-network.js';

/** How many connections there may be. */
export interface ConnectionBounds {
  readonly connections: number;
  /** Of one IPv4 address, or of one /64 of IPv6. */
  readonly connectionsPerAddress: number;
}

/** Counts open connections, in all and of each address. */
export class ConnectionCount {
  readonly #ofNetwork = new Map<string, number>();
  #all = 0;

  get all(): number {
    return this.#all;
  }

  /**
   * @param isTrusted whether the address is one that many clients come from, and so has no bound of its own
   * @returns what gives the place back, or which bound is reached
   */
  take(
    address: string,
    bounds: ConnectionBounds,
    isTrusted: (address: string) => boolean,
  ): (() => void) | 'connections' | 'address' {
    if (this.#all >= bounds.connections) return 'connections';
    const network = clientNetwork(address);
    const before = this.#ofNetwork.get(network) ?? 0;
    // Counted even where it is not bounded: a reload may take the trust away.
    if (before >= bounds.connectionsPerAddress && !isTrusted(address)) return 'address';
    this.#all += 1;
    this.#ofNetwork.set(network, before + 1);
    return () => this.#release(network);
  }

  #release(network: string): void {
    this.#all -= 1;
    const left = (this.#ofNetwork.get(network) ?? 1) - 1;
    if (left > 0) this.#ofNetwork.set(network, left);
    else this.#ofNetwork.delete(network);
  }
}
