import type { CallOptions } from '../../contracts/index.js';
import { FairTurns } from '../../decorators/fair-turns.js';
import { RegistryError } from '../../errors.js';
import { isResult, isServerFailure, NoAnswer } from './failures.js';
import type { LdapConnection } from './ldap-connection.js';
import type { LdapServers, Prepare } from './ldap-servers.js';
import { within } from './time-limit.js';

export interface PoolOptions {
  /** Connections at the same time; more work waits for its turn. */
  readonly atOnce: number;
  /** Milliseconds that a connection without work is kept; 0: each piece of work gets a connection of its own. */
  readonly keep: number;
  readonly prepare: Prepare;
}

/** Verifications that wait for a connection. */
const waiting = 1_000;

/** For whom something is done. */
export interface Asked extends CallOptions {
  /** The client's network; connections are shared among networks. Absent: nobody's in particular. */
  readonly network?: string;
}

/** @param signal aborted where it takes too long, too */
type Work<V> = (connection: LdapConnection, signal: AbortSignal) => Promise<V>;

interface Idle {
  readonly connection: LdapConnection;
  readonly timer: NodeJS.Timeout;
}

/** Connections that are alike: all have the same rights, and each does one thing at a time. */
export class ConnectionPool {
  readonly #servers: LdapServers;
  readonly #options: PoolOptions;
  readonly #turns: FairTurns;
  readonly #idle: Idle[] = [];
  readonly #closing = new Set<Promise<void>>();
  readonly #busy = new Set<LdapConnection>();
  #closed = false;

  constructor(servers: LdapServers, options: PoolOptions) {
    this.#servers = servers;
    this.#options = options;
    this.#turns = new FairTurns({
      atOnce: options.atOnce,
      waiting,
      refusal: () => new RegistryError('UNAVAILABLE', { reason: 'too many logins wait for the directory' }),
    });
  }

  /**
   * Does work on a connection. Where that breaks the work is done once more on another one: it must be such that this
   * does no harm.
   *
   * @throws RegistryError UNAVAILABLE where no server answers, or too many wait; NoAnswer; what `work` throws; the signal's reason
   */
  async run<V>(o: Asked, work: Work<V>): Promise<V> {
    return this.#turns.run(o.network ?? '', o, () => this.#servers.ask(() => this.#tryTwice(o, work)));
  }

  async #tryTwice<V>({ signal }: CallOptions, work: Work<V>): Promise<V> {
    const kept = this.#takeIdle();
    try {
      return kept === undefined
        ? await this.#workOnNew(signal, work)
        : await this.#workOn(kept, signal, work);
    } catch (error) {
      if (!isServerFailure(error)) throw error;
      // Servers and firewalls end idle connections: that says nothing of the server, and the others are no better.
      if (kept !== undefined) this.#dropIdle();
    }
    return this.#workOnNew(signal, work);
  }

  async #workOnNew<V>(signal: AbortSignal, work: Work<V>): Promise<V> {
    const connection = await this.#connect(signal);
    try {
      return await this.#workOn(connection, signal, work);
    } catch (error) {
      if (isServerFailure(error)) this.#servers.failed(connection.server, error);
      throw error;
    }
  }

  /** Cuts what is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#dropIdle();
    for (const connection of this.#busy) this.#end(connection);
    await Promise.all(this.#closing);
  }

  async #connect(signal: AbortSignal): Promise<LdapConnection> {
    if (this.#closed) throw new RegistryError('UNAVAILABLE', { reason: 'the verifier was closed' });
    return this.#servers.connect(this.#options.prepare, signal);
  }

  async #workOn<V>(connection: LdapConnection, signal: AbortSignal, work: Work<V>): Promise<V> {
    const { share } = this.#servers;
    const late = () => new NoAnswer(connection.server.name, new Error(`not within ${share} ms`));
    this.#busy.add(connection);
    let isSound = false;
    try {
      const result = await within(share, signal, late, (limited) => work(connection, limited));
      isSound = true;
      this.#servers.answered(connection.server);
      return result;
    } catch (error) {
      isSound = isResult(error) && !isServerFailure(error);
      if (!signal.aborted && !isServerFailure(error)) this.#servers.answered(connection.server);
      throw error;
    } finally {
      this.#busy.delete(connection);
      if (isSound) this.#giveBack(connection);
      else this.#end(connection);
    }
  }

  #giveBack(connection: LdapConnection): void {
    const { keep } = this.#options;
    if (keep === 0 || this.#closed || !connection.isOpen) {
      this.#end(connection);
      return;
    }
    const timer = setTimeout(() => {
      this.#idle.splice(this.#idle.indexOf(idle), 1);
      this.#end(connection);
    }, keep).unref();
    const idle = { connection, timer };
    this.#idle.push(idle);
  }

  /** The one used last, so that those beyond the need grow old. */
  #takeIdle(): LdapConnection | undefined {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      clearTimeout(idle.timer);
      if (idle.connection.isOpen) return idle.connection;
      this.#end(idle.connection);
    }
    return undefined;
  }

  #dropIdle(): void {
    for (const { connection, timer } of this.#idle.splice(0)) {
      clearTimeout(timer);
      this.#end(connection);
    }
  }

  #end(connection: LdapConnection): void {
    const closing = connection.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}
