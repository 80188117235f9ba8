import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ImageServiceConfiguration } from '../../config/image-service/configuration.js';
import { describeError } from '../../errors.js';
import { UnixSocket } from '../../grpc/unix-socket.js';
import { type AdminParts, adminHandler } from '../../http/admin.js';
import type { ServiceSurroundings } from '../run-service.js';

/** Milliseconds without a byte: a reader that went to sleep holds nothing. */
const idleTime = 10_000;
/** Milliseconds that answers under way get at the end. */
const shortDrain = 1_000;

export interface AdminOptions extends Pick<AdminParts, 'unready'> {
  /** What is looked at before the metrics are printed. Never rejects. */
  readonly beforeMetrics: () => Promise<unknown>;
  /** What `/pulls` shows, on the socket alone: it names pods. */
  readonly report: () => unknown;
  /** As the socket for kubelet does. */
  readonly replace: boolean;
}

interface Listening {
  readonly address: AddressInfo;
  drain(timeout: number): Promise<unknown>;
}

/** For operators: HTTP on a unix socket, and at an address where the configuration has one. */
export class AdminServers {
  readonly #http: Server;
  readonly #socket: UnixSocket;
  readonly #listener: Listening | undefined;

  private constructor(http: Server, socket: UnixSocket, listener: Listening | undefined) {
    this.#http = http;
    this.#socket = socket;
    this.#listener = listener;
  }

  /** @throws an Error with a one-line message where the socket cannot be had */
  static async open(
    configuration: ImageServiceConfiguration,
    { log, metrics }: Pick<ServiceSurroundings, 'log' | 'metrics'>,
    { unready, beforeMetrics, report, replace }: AdminOptions,
  ): Promise<AdminServers> {
    const print = () => beforeMetrics().then(() => metrics.print());
    const pages = { unready, metrics: { contentType: metrics.contentType, print } };
    const handle = adminHandler({ ...pages, pages: { '/pulls': report } });
    const http = createServer((request, response) => {
      handle(request, response).catch((error: unknown) => {
        log.error({ error: describeError(error) }, 'an operator could not be answered');
        response.destroy();
      });
    });
    // Nothing listens here itself, so none of Node's own time limits run.
    http.setTimeout(idleTime, (socket) => socket.destroy());
    const { admin, socketMode: mode, directoryMode } = configuration;
    const onConnection = (socket: unknown) => void http.emit('connection', socket);
    const place = { address: admin.socket, mode, directoryMode, replace };
    const socket = await UnixSocket.open({ ...place, log, onConnection });
    const listener = await openListener(configuration, { log, metrics }, adminHandler(pages));
    return new AdminServers(http, socket, listener);
  }

  /** Absent where there is none. */
  get address(): AddressInfo | undefined {
    return this.#listener?.address;
  }

  /** Never rejects. */
  async close(): Promise<void> {
    await Promise.all([this.#socket.close(), this.#listener?.drain(shortDrain)]);
    this.#http.closeIdleConnections();
    const closed = new Promise((resolve) => this.#http.close(resolve));
    await Promise.race([closed, sleep(shortDrain, undefined, { ref: false })]);
    this.#http.closeAllConnections();
  }
}

/** A port that somebody else has taken meanwhile must not keep a node from pulling images: it is told, and that is all. */
async function openListener(
  { admin }: ImageServiceConfiguration,
  { log, metrics }: Pick<ServiceSurroundings, 'log' | 'metrics'>,
  handle: ReturnType<typeof adminHandler>,
): Promise<Listening | undefined> {
  if (admin.listen === undefined) return undefined;
  const { Listener } = await import('../../http/listener.js');
  try {
    return await Listener.open({ ...admin.listen, handle, metrics, log, name: 'admin' });
  } catch (error) {
    log.error({ reason: describeError(error) }, 'admin.listen: not served until a restart');
    return undefined;
  }
}
