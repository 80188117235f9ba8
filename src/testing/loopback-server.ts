import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export interface TlsFiles {
  /** PEM. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

export interface LoopbackServer {
  /** `http://127.0.0.1:41234`, without a slash at the end. */
  readonly url: string;
  /** Cuts all connections. A second call does nothing. */
  close(): Promise<void>;
}

/** Listens on the loopback interface; without limits of time, so that only the tested side has any. */
export async function startLoopbackServer(
  listener: RequestListener,
  options: { readonly host?: string; readonly port?: number; readonly tls?: TlsFiles } = {},
): Promise<LoopbackServer> {
  const { host = '127.0.0.1', port = 0, tls } = options;
  const limits = { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 65_000 };
  const server: Server = tls
    ? createTlsServer({ ...tls, ...limits }, listener)
    : createServer(limits, listener);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  let closed: Promise<void> | undefined;
  return {
    url: `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${address.port}`,
    close: () => {
      closed ??= new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      return closed;
    },
  };
}
