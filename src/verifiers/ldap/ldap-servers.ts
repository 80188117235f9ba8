import type { Clock, Log } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { isServerFailure, NoAnswer } from './failures.js';
import { LdapConnection } from './ldap-connection.js';
import type { LdapServer } from './ldap-url.js';
import type { Security } from './open-socket.js';
import { within } from './time-limit.js';

/** Milliseconds that a server which did not answer is asked last. */
const rest = 10_000;

/** Makes a new connection fit for its work: a bind. */
export type Prepare = (connection: LdapConnection, signal: AbortSignal) => Promise<void>;

/** Servers of one directory, any of which may be asked. */
export class LdapServers {
  /** Milliseconds for one try: to connect, or to do one piece of work. */
  readonly share: number;
  readonly #servers: readonly LdapServer[];
  readonly #security: Security;
  readonly #given: { readonly id: string; readonly clock: Clock; readonly log: Log };
  /** When a server failed, in milliseconds since the epoch. */
  readonly #failedAt = new Map<LdapServer, number>();
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
        const connection = await this.#connectTo(server, prepare, signal);
        this.#answered(server);
        return connection;
      } catch (error) {
        if (!isServerFailure(error)) throw error;
        this.failed(server, error);
        failures.push(error);
      }
    }
    const reason = failures.map((error) => (error as Error).message).join('; ');
    throw new RegistryError('UNAVAILABLE', { reason, cause: failures[0] });
  }

  /** It did not answer: others are asked first for a while. */
  failed(server: LdapServer, error: unknown): void {
    const { id, clock, log } = this.#given;
    if (!this.#rests(server))
      log.warn(
        { id, server: server.name, error: (error as Error).message },
        'an LDAP server does not answer',
      );
    this.#failedAt.set(server, clock.now());
    if (this.#preferred === server) this.#preferred = undefined;
  }

  #answered(server: LdapServer): void {
    this.#failedAt.delete(server);
    this.#preferred = server;
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
    const failedAt = this.#failedAt.get(server);
    if (failedAt === undefined) return false;
    const since = this.#given.clock.now() - failedAt;
    // Below zero: the clock was set back.
    return since >= 0 && since < rest;
  }
}
