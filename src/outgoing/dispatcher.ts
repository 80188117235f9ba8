import type { SecureContext } from 'node:tls';
import { Agent, type Dispatcher, Pool, ProxyAgent } from 'undici';
import type { Secret } from '../secret.js';

export interface DispatcherSettings {
  /** Milliseconds: for TCP and TLS, for an answer's headers, between two pieces of a body. */
  readonly timeouts: { readonly connect: number; readonly headers: number; readonly idle: number };
  /** An origin's connections at the same time. */
  readonly connections: number;
  /** Trusted beyond the system's roots. */
  readonly secureContext?: SecureContext;
  /** `http(s)://user:password@host:port`. */
  readonly proxy?: Secret;
}

const idleConnection = 30_000;

/** Pools of HTTP/1.1 connections, one an origin, through a proxy where there is one. Follows no redirects. */
export function openDispatcher({
  timeouts,
  connections,
  secureContext,
  proxy,
}: DispatcherSettings): Dispatcher {
  const tls = { timeout: timeouts.connect, ...(secureContext && { secureContext }) };
  const options = {
    connections,
    pipelining: 1,
    allowH2: false,
    headersTimeout: timeouts.headers,
    bodyTimeout: timeouts.idle,
    keepAliveTimeout: idleConnection,
  };
  if (proxy === undefined) return new Agent({ ...options, connect: tls });
  const uri = new URL(proxy.reveal());
  const authorization = uri.username === '' ? undefined : basicAuthorization(uri);
  uri.username = '';
  uri.password = '';
  return new ProxyAgent({
    ...options,
    uri: uri.href,
    ...(authorization !== undefined && { token: authorization }),
    requestTls: tls,
    proxyTls: tls,
    clientFactory: (origin, opts) => new Pool(origin, { ...opts, headersTimeout: timeouts.connect }),
  });
}

function basicAuthorization(url: URL): string {
  const text = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return `Basic ${Buffer.from(text).toString('base64')}`;
}
