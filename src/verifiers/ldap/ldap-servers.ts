import type { Clock, Log } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { isServerFailure, NoAnswer } from './failures.js';
import { LdapConnection } from './ldap-connection.js';
import type { LdapServer } from './ldap-url.js';
import type { Security } from './open-socket.js';
import { Outage } from './outage.js';
import { within } from './time-limit.js';

/** Milliseconds that a server which did not answer is asked last. */
const rest = 10_000;

/** Makes a new connection fit for its work: a bind. */
export type Prepare = (connection: LdapConnection, signal: AbortSignal) => Promise<void>;

interface Failure {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly error: unknown;
}

/** Servers of one directory, any of which may be asked. */
export class LdapServers {
  /** Milliseconds for one try: to connect, or to do one piece of work. */
  readonly share: number;
  readonly #servers: readonly LdapServer[];
  readonly #security: Security;
  readonly #given: { readonly id: string; readonly clock: Clock; readonly log: Log };
  readonly #outage: Outage;
  readonly #failures = new Map<LdapServer, Failure>();
  #preferred: LdapServer | undefined;

  /** @param timeout milliseconds for the whole of a verification */
  constructor(
    servers: readonly LdapServer[],
    security: Security,
    timeout: number,
    given: { readonly id: string; readonly clock: Clock; readonly log: Log },
  ) {
    this.#servers = servers;
    this.#security = security;
    this.#given = given;
    this.#outage = new Outage(given.clock, () => this.#silence());
    // A connection that went silent, each server that is silent too, and there is still time for the last one's work.
    this.share = Math.ceil(timeout / (servers.length + 2));
  }

  /**
   * A connection to the server that answered last, or to the first that answers. Whose turn is after a failure is asked
   * last for some seconds.
   *
   * @throws RegistryError UNAVAILABLE where none answers; what `prepare` throws; the signal's reason
   */
  async connect(prepare: Prepare, signal: AbortSignal): Promise<LdapConnection> {
    const failures: unknown[] = [];
    for (const server of this.#inOrder()) {
      try {
        return await this.#connectTo(server, prepare, signal);
      } catch (error) {
        if (!isServerFailure(error)) throw error;
        this.failed(server, error);
        failures.push(error);
      }
    }
    const reason = failures.map((error) => (error as Error).message).join('; ');
    throw new RegistryError('UNAVAILABLE', { reason, cause: failures[0] });
  }

  /**
   * Does work with connections of these servers; while all of them are silent, for one caller at a time.
   *
   * @throws RegistryError UNAVAILABLE at once where another one is trying them; what `work` throws
   */
  async ask<V>(work: () => Promise<V>): Promise<V> {
    return this.#outage.run(work);
  }

  /** It did not answer: others are asked first for a while. */
  failed(server: LdapServer, error: unknown): void {
    const { id, clock, log } = this.#given;
    if (!this.#rests(server))
      log.warn(
        { id, server: server.name, error: (error as Error).message },
        'an LDAP server does not answer',
      );
    this.#failures.set(server, { at: clock.now(), error });
    if (this.#preferred === server) this.#preferred = undefined;
  }

  /** It did what it was asked for: a connection alone is one to a process that may have stopped. */
  answered(server: LdapServer): void {
    this.#failures.delete(server);
    this.#preferred = server;
    this.#outage.answered();
  }

  #silence(): string | undefined {
    const errors = this.#servers.map((server) => this.#rests(server) && this.#failures.get(server)?.error);
    if (!errors.every((error) => error instanceof NoAnswer)) return undefined;
    return errors.map(({ message }) => message).join('; ');
  }

  async #connectTo(server: LdapServer, prepare: Prepare, signal: AbortSignal): Promise<LdapConnection> {
    const late = () => new NoAnswer(server.name, new Error(`not within ${this.share} ms`));
    return within(this.share, signal, late, async (limited) => {
      const connection = await LdapConnection.open(server, this.#security, limited);
      try {
        await prepare(connection, limited);
        return connection;
      } catch (error) {
        void connection.close();
        throw error;
      }
    });
  }

  #inOrder(): readonly LdapServer[] {
    const rank = (server: LdapServer) => (this.#rests(server) ? 2 : server === this.#preferred ? 0 : 1);
    return [...this.#servers].sort((a, b) => rank(a) - rank(b));
  }

  #rests(server: LdapServer): boolean {
    const failure = this.#failures.get(server);
    if (failure === undefined) return false;
    const since = this.#given.clock.now() - failure.at;
    // Below zero: the clock was set back.
    return since >= 0 && since < rest;
  }
}
