import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { certify, createAuthority, type TestCertificate } from '../../../src/testing/certificates.js';

// The internet as the proxy under test sees it: hosts go by their real names (`gcr.io`, `sts.amazonaws.com`) over TLS, and
// all of them are here. It is reached through an HTTP proxy (`proxy:`) and trusted by an authority (`ca:`); a name that
// nobody answers for does not exist, and no packet leaves the machine.

/** One request as a host of the world got it. */
export interface WorldRequest {
  /** The name the client connected to (SNI), which is also in its `Host`. */
  readonly host: string;
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** What was read of the body by `readText`; empty otherwise. */
  body: string;
  /** 0 until it was answered. */
  status: number;
}

/** One request and its answer, for a host's own code. */
export interface Exchange {
  readonly record: WorldRequest;
  readonly url: URL;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The whole body, at most 1 MiB. */
  readText(): Promise<string>;
  json(status: number, value: unknown, headers?: Readonly<Record<string, string>>): void;
  text(status: number, value: string, headers?: Readonly<Record<string, string>>): void;
}

export type HostCode = (exchange: Exchange) => Promise<void> | void;

/** Sees a request before its host does, and holds it while it thinks. @returns true where it has answered it itself */
export type Interceptor = (exchange: Exchange) => Promise<boolean> | boolean;

export interface World {
  /** `http://127.0.0.1:PORT`: for `proxy:` settings and HTTPS_PROXY. */
  readonly proxyUrl: string;
  /** The authority of all its hosts, as PEM. */
  readonly authority: string;
  /** Every request at every host, in order. */
  readonly requests: readonly WorldRequest[];
  /** Names that were asked for and that nobody answers for. */
  readonly unknownNames: readonly string[];
  /** Answers for these names from now on. */
  host(names: string | readonly string[], code: HostCode): void;
  /** Sees every request at every host from now on. @returns ends that */
  intercept(interceptor: Interceptor): () => void;
  /** The name does not exist any more; connections to it are cut. */
  remove(name: string): void;
  /** What one host was asked. */
  requestsTo(host: string): readonly WorldRequest[];
  close(): Promise<void>;
}

const maxBody = 1024 * 1024;

export async function startWorld(): Promise<World> {
  const authority = await createAuthority({ name: 'world' });
  const hosts = new Map<string, HostCode>();
  const interceptors = new Set<Interceptor>();
  const requests: WorldRequest[] = [];
  const unknownNames: string[] = [];
  const sockets = new Map<Socket, string>();
  const contexts = new Map<string, Promise<SecureContext>>();
  const contextFor = (name: string) => {
    const made = contexts.get(name) ?? secureContext(authority, name);
    contexts.set(name, made);
    return made;
  };
  const own = await certify(authority, { name: 'world' });
  const limits = { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 65_000 };
  const tls = createTlsServer(
    {
      ...limits,
      cert: own.certificate,
      key: own.privateKey,
      SNICallback: (name, done) => {
        contextFor(name).then((context) => done(null, context), done);
      },
    },
    (request, response) => {
      const name = (request.socket as { servername?: string }).servername ?? '';
      const exchange = open(name, request, response);
      requests.push(exchange.record);
      response.once('close', () => {
        exchange.record.status = response.statusCode;
      });
      const code = hosts.get(name);
      if (code === undefined) return response.destroy();
      Promise.resolve()
        .then(async () => {
          for (const interceptor of interceptors) if (await interceptor(exchange)) return;
          await code(exchange);
        })
        .catch((error: unknown) => {
          if (!response.headersSent) exchange.text(500, `the fake failed: ${String(error)}`);
          else response.destroy();
        });
    },
  );
  const tlsPort = await listen(tls);
  const proxy = createServer(limits, (_request, response) => {
    response.writeHead(405).end('only CONNECT');
  });
  proxy.on('connect', (request: IncomingMessage, client: Socket, head: Buffer) => {
    const [name = '', port] = (request.url ?? '').split(':');
    client.on('error', () => {});
    if (!hosts.has(name) || port !== '443') {
      unknownNames.push(request.url ?? '');
      client.end('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    sockets.set(client, name);
    client.once('close', () => sockets.delete(client));
    const server = connect(tlsPort, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      if (head.length > 0) server.write(head);
      server.pipe(client).pipe(server);
    });
    server.on('error', () => client.destroy());
    client.once('close', () => server.destroy());
    server.once('close', () => client.destroy());
  });
  const proxyPort = await listen(proxy);
  return {
    proxyUrl: `http://127.0.0.1:${proxyPort}`,
    authority: authority.certificate,
    requests,
    unknownNames,
    host: (names, code) => {
      for (const name of [names].flat()) hosts.set(name, code);
    },
    intercept: (interceptor) => {
      interceptors.add(interceptor);
      return () => void interceptors.delete(interceptor);
    },
    remove: (name) => {
      hosts.delete(name);
      for (const [socket, of] of sockets) if (of === name) socket.destroy();
    },
    requestsTo: (host) => requests.filter((request) => request.host === host),
    close: async () => {
      for (const socket of sockets.keys()) socket.destroy();
      await Promise.all(
        [proxy, tls].map(
          (server) =>
            new Promise<void>((resolve) => {
              server.close(() => resolve());
              server.closeAllConnections();
            }),
        ),
      );
    },
  };
}

function open(host: string, request: IncomingMessage, response: ServerResponse): Exchange {
  const { method = '', url = '/', headers } = request;
  const record: WorldRequest = { host, method, path: url, headers, body: '', status: 0 };
  const send = (status: number, type: string, body: string, more: Readonly<Record<string, string>> = {}) => {
    response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), ...more });
    response.end(method === 'HEAD' ? undefined : body);
  };
  return {
    record,
    url: new URL(url, `https://${host}`),
    request,
    response,
    readText: async () => {
      const pieces: Buffer[] = [];
      let size = 0;
      for await (const piece of request) {
        size += (piece as Buffer).length;
        if (size > maxBody) throw new Error('the body is too large for this fake');
        pieces.push(piece as Buffer);
      }
      record.body = Buffer.concat(pieces).toString('utf8');
      return record.body;
    },
    json: (status, value, more) => send(status, 'application/json', JSON.stringify(value), more),
    text: (status, value, more) => send(status, 'text/plain', value, more),
  };
}

async function secureContext(authority: TestCertificate, name: string): Promise<SecureContext> {
  const { certificate, privateKey } = await certify(authority, { name, hosts: [name] });
  return createSecureContext({ cert: certificate, key: privateKey });
}

function listen(
  server: ReturnType<typeof createServer> | ReturnType<typeof createTlsServer>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}
