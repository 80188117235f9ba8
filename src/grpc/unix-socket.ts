import { rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Log } from '../contracts/index.js';
import { describeError, hasCode } from '../errors.js';
import { printSocketAddress, type SocketAddress } from '../settings/socket-address.js';
import { claimSocket, type FileIdentity, identityOf, SocketTaken } from './unix-socket-claim.js';
import { listenAtPassed } from './unix-socket-passed.js';

/** Where a socket is, and who may reach it. */
export interface SocketPlace {
  readonly address: SocketAddress;
  /** Permission bits of the socket, such as 0o600. Not for one that was handed over. */
  readonly mode: number;
  /** Of its directory, and those above it, where they are not there yet. */
  readonly directoryMode: number;
  /**
   * Takes the path also where another instance listens there, and lets a later one take it in the same way. For an update
   * in which the next one starts before this one ends. Not for one that was handed over.
   */
  readonly replace?: boolean;
}

export interface UnixSocketOptions extends SocketPlace {
  readonly log: Log;
  /** Each connection is the receiver's to end: `close` leaves those that are open. Its errors are listened to. */
  readonly onConnection: (socket: Socket) => void;
  /** Where systemd says what it handed over. Default: the process's. */
  readonly environment?: NodeJS.ProcessEnv;
}

export const openDirectoryWarning =
  'others may write into the directory of the socket, and put one of theirs in its place: make it 0755 or 0700';

/** Milliseconds between two looks whether the socket is still there. */
const lookEvery = 1_000;

/** A listening unix socket. */
export class UnixSocket {
  /** Absent where the socket was handed over and the system does not tell its path. */
  readonly path: string | undefined;
  readonly #keep: Keep;

  private constructor(path: string | undefined, keep: Keep) {
    this.path = path;
    this.#keep = keep;
  }

  /**
   * A path's socket is made anew when it is deleted, its directory with it; connections that are open go on.
   *
   * @throws an Error with a one-line message where the socket cannot be had
   */
  static async open(options: UnixSocketOptions): Promise<UnixSocket> {
    const { address } = options;
    try {
      if ('path' in address) {
        return new UnixSocket(address.path, await KeptPath.open(options, address.path));
      }
      const server = newServer(options);
      const passed = await listenAtPassed(server, address.fd, options.environment ?? process.env);
      warnOfWideMode(options.log, passed.path, passed.mode);
      return new UnixSocket(passed.path, { close: async () => void server.close() });
    } catch (error) {
      throw new Error(`cannot listen at ${printSocketAddress(address)}: ${describeError(error)}`);
    }
  }

  /** Accepts no more, and removes the socket where it is still ours. Never rejects; a second call does nothing. */
  close(): Promise<void> {
    return this.#keep.close();
  }
}

interface Keep {
  close(): Promise<void>;
}

/** Sees to it that the socket at a path is ours. */
class KeptPath implements Keep {
  readonly #options: UnixSocketOptions;
  readonly #path: string;
  readonly #timer: NodeJS.Timeout;
  #server: Server;
  #identity: FileIdentity;
  #looking: Promise<void> | undefined;
  /** What was wrong and was told. */
  #told: string | undefined;
  #closed: Promise<void> | undefined;

  private constructor(options: UnixSocketOptions, path: string, server: Server, identity: FileIdentity) {
    this.#options = options;
    this.#path = path;
    this.#server = server;
    this.#identity = identity;
    this.#timer = setInterval(() => {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = undefined;
      });
    }, lookEvery);
    this.#timer.unref();
  }

  static async open(options: UnixSocketOptions, path: string): Promise<KeptPath> {
    const { server, identity, isDirectoryOpen } = await claim(options, path, options.replace);
    if (isDirectoryOpen) options.log.warn({ directory: dirname(path) }, openDirectoryWarning);
    return new KeptPath(options, path, server, identity);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    try {
      if (await this.#isThere()) {
        this.#told = undefined;
        return;
      }
      const { server, identity } = await claim(this.#options, this.#path);
      this.#server.close();
      this.#server = server;
      this.#identity = identity;
      this.#told = undefined;
      this.#options.log.warn({ path: this.#path }, 'the socket had been removed, and was made anew');
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'it cannot be told why';
      if (reason === this.#told) return;
      this.#told = reason;
      if (this.#options.replace && error instanceof SocketTaken) return this.#tellReplaced();
      this.#options.log.error(
        { path: this.#path, reason },
        "the socket is not this program's any more: new connections do not come here",
      );
    }
  }

  /** Only where nobody listens there any more is it made anew, as one that was removed: what replaced us has ended. */
  #tellReplaced(): void {
    this.#options.log.info(
      { path: this.#path },
      'another instance has taken over the socket: open connections go on here, new ones go there',
    );
  }

  async #isThere(): Promise<boolean> {
    try {
      const found = await identityOf(this.#path);
      return found.ino === this.#identity.ino && found.dev === this.#identity.dev;
    } catch (error) {
      if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return false;
      throw error;
    }
  }

  /**
   * Removed before it is closed: whoever starts now finds it live, or finds nothing, and is never deleted by us. One who
   * replaces us may come between the look and the removal: then a socket that nobody listens at is left instead.
   */
  async #close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
    const isOurs = !this.#options.replace && (await this.#isThere().catch(() => false));
    if (isOurs) await rm(this.#path, { force: true }).catch(() => undefined);
    this.#server.close();
  }
}

function claim(options: UnixSocketOptions, path: string, replace = false) {
  const { mode, directoryMode } = options;
  return claimSocket({ path, mode, directoryMode, replace, newServer: () => newServer(options) });
}

function newServer({ onConnection, log }: UnixSocketOptions): Server {
  const server = createServer((socket) => {
    // Another instance that starts only looks whether anybody listens, and is gone at once.
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  server.on('listening', () => {
    // Too many open files, above all. Before it listens, an error is its opener's.
    server.on('error', (error) =>
      log.error({ error: describeError(error) }, 'a connection cannot be accepted'),
    );
  });
  return server;
}

function warnOfWideMode(log: Log, path: string | undefined, mode: number | undefined): void {
  if (mode === undefined || (mode & 0o077) === 0) return;
  log.warn(
    { path, mode: mode.toString(8).padStart(4, '0') },
    'others may connect to the socket that was handed over, and pull images with the credentials of this node: ' +
      'set SocketMode=0600 in its unit',
  );
}
