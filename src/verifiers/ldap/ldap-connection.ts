import type { Socket } from 'node:net';
import { Client } from 'ldapts';
import { untilAborted } from '../../decorators/single-flight.js';
import type { Secret } from '../../secret.js';
import { DirectoryEntry } from './directory-entry.js';
import { isResult, NoAnswer } from './failures.js';
import type { LdapServer } from './ldap-url.js';
import { openSocket, type Security } from './open-socket.js';

export interface Search {
  readonly base: string;
  readonly scope: 'base' | 'one' | 'sub';
  /** RFC 4515, with its values escaped. */
  readonly filter: string;
  readonly attributes: readonly string[];
}

/** Bytes of one answer; those of a directory are a few kilobytes. */
const maxAnswer = 4 * 1024 * 1024;
/** Seconds that the server is asked not to search longer than; the caller's own limit is the one that counts. */
const searchTime = 60;
/** Milliseconds for the last word to be sent. */
const farewell = 1_000;

/**
 * One connection to one server, for one operation at a time. An operation that fails without an answer of the server
 * ends it: what would come later belongs to nobody.
 */
export class LdapConnection {
  readonly server: LdapServer;
  readonly #socket: Socket;
  readonly #client: Client;
  #received = 0;
  #failure: Error | undefined;

  private constructor(server: LdapServer, socket: Socket) {
    this.server = server;
    this.#socket = socket;
    let taken = false;
    const createConnection = () => {
      // ldapts connects again by itself, and would go on without the bind.
      if (taken) throw new Error('the connection was closed');
      taken = true;
      return socket;
    };
    this.#client = new Client({ url: 'ldap://localhost', createConnection });
  }

  /** @throws NoAnswer; the signal's reason */
  static async open(server: LdapServer, security: Security, signal: AbortSignal): Promise<LdapConnection> {
    try {
      return new LdapConnection(server, await openSocket(server, security, signal));
    } catch (error) {
      signal.throwIfAborted();
      throw new NoAnswer(server.name, error);
    }
  }

  get isOpen(): boolean {
    return this.#socket.readyState === 'open';
  }

  /**
   * Whoever was bound before is so no more, whatever the outcome (RFC 4511 section 4.2.1).
   *
   * @param password not empty: that would be a bind as nobody, and succeed (RFC 4513 section 5.1.2; threat 15)
   * @throws ResultCodeError where the server refuses; NoAnswer; the signal's reason
   */
  async bind(dn: string, password: Secret, signal: AbortSignal): Promise<void> {
    if (password.isEmpty || dn === '')
      throw new RangeError('a bind without a name or password proves nothing');
    await this.#operate(signal, () => this.#client.bind(dn, password.reveal()));
  }

  /**
   * All entries of a search, or none: a list that the server cut is an error. References to other servers are left out,
   * aliases are not followed.
   *
   * @throws ResultCodeError where the server refuses; NoAnswer; the signal's reason
   */
  async search(search: Search, signal: AbortSignal): Promise<readonly DirectoryEntry[]> {
    const { base, scope, filter, attributes } = search;
    // Without a size limit of ours: with one ldapts takes a list that the server cut for a whole one.
    const options = { scope, filter, attributes: [...attributes], timeLimit: searchTime };
    const { searchEntries } = await this.#operate(signal, () => this.#client.search(base, options));
    return searchEntries.map((entry) => new DirectoryEntry(entry));
  }

  /** Never rejects; a second call does nothing. */
  async close(): Promise<void> {
    if (!this.isOpen) {
      this.#socket.destroy();
      return;
    }
    const timer = setTimeout(() => this.#socket.destroy(), farewell);
    await this.#client.unbind().catch(() => {});
    clearTimeout(timer);
    this.#socket.destroy();
  }

  async #operate<V>(signal: AbortSignal, operation: () => Promise<V>): Promise<V> {
    signal.throwIfAborted();
    if (!this.isOpen)
      throw new NoAnswer(this.server.name, this.#failure ?? new Error('it closed the connection'));
    this.#received = 0;
    const outcome = operation();
    this.#watch();
    try {
      return await untilAborted(outcome, signal);
    } catch (error) {
      if (!signal.aborted && isResult(error)) throw error;
      this.#socket.destroy();
      signal.throwIfAborted();
      throw new NoAnswer(this.server.name, this.#failure ?? error);
    }
  }

  /** After the first operation has begun: ldapts takes all listeners for errors away from a socket it is given. */
  #watch(): void {
    if (this.#socket.listenerCount('data', this.#count) > 0) return;
    this.#socket.on('data', this.#count);
    this.#socket.on('error', (error) => {
      this.#failure ??= error;
    });
  }

  readonly #count = (chunk: Buffer) => {
    this.#received += chunk.length;
    if (this.#received > maxAnswer)
      this.#socket.destroy(new Error(`the answer is larger than ${maxAnswer} bytes`));
  };
}
