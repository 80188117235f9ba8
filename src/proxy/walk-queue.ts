import type { CallOptions } from '../contracts/index.js';
import { Turns } from '../decorators/turns.js';
import { RegistryError } from '../errors.js';

export interface WalkLimits {
  /** Clients whose walks go on at the same time. */
  readonly atOnce: number;
  /** Clients beyond those that wait. */
  readonly waiting: number;
  /** Walks of one client, of which one goes on. */
  readonly ofOne: number;
}

interface Client {
  readonly turns: Turns;
  walks: number;
}

/** Long work on behalf of clients: one at a time for each, and all wait for each other in order. */
export class WalkQueue {
  readonly #limits: WalkLimits;
  readonly #turns: Turns;
  readonly #clients = new Map<string, Client>();

  constructor(limits: WalkLimits) {
    this.#limits = limits;
    this.#turns = new Turns(limits.atOnce);
  }

  /** @throws RegistryError TOOMANYREQUESTS; the signal's reason where it is aborted before the turn has come */
  async run<V>(name: string, o: CallOptions, walk: () => Promise<V>): Promise<V> {
    const client = this.#clients.get(name) ?? this.#admit(name);
    if (client.walks >= this.#limits.ofOne)
      throw tooMany('too many requests for the catalogue by this client');
    client.walks++;
    try {
      // A client's own turn comes first: whoever asks often waits behind itself, not before others.
      return await client.turns.run(o, () => this.#turns.run(o, walk));
    } finally {
      client.walks--;
      if (client.walks === 0) this.#clients.delete(name);
    }
  }

  #admit(name: string): Client {
    if (this.#clients.size >= this.#limits.atOnce + this.#limits.waiting) {
      throw tooMany('too many requests for the catalogue');
    }
    const client = { turns: new Turns(1), walks: 0 };
    this.#clients.set(name, client);
    return client;
  }
}

function tooMany(message: string): RegistryError {
  return new RegistryError('TOOMANYREQUESTS', { message: `${message} at the same time`, retryAfter: 1 });
}
