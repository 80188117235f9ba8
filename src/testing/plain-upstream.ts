import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream';
import type { CallOptions } from '../contracts/call-options.js';
import {
  type RegistryOperation,
  type RegistryRequest,
  type RegistryResponse,
  responseHeaders,
} from '../contracts/registry-request.js';
import type { ProbeStep, Upstream } from '../contracts/upstream.js';
import { type ErrorCode, errorTable, RegistryError } from '../errors.js';
import { nextLink } from '../protocol/link.js';
import { printReference } from '../reference/reference.js';
import { parseRegistryHost, type RegistryHost } from '../reference/registry-host.js';

const maxErrorBody = 64 * 1024;

/** The simplest upstream: an open registry over plain http, such as the memory registry, without credentials. */
export class PlainUpstream implements Upstream {
  readonly registry: RegistryHost;
  readonly #origin: string;
  readonly #agent = new Agent({ keepAlive: true });
  #closed = false;

  /** @param url `http://127.0.0.1:5000` */
  constructor(url: string) {
    this.registry = parseRegistryHost(new URL(url).host);
    this.#origin = url;
  }

  async fetch(request: RegistryRequest, o: CallOptions): Promise<RegistryResponse> {
    o.signal.throwIfAborted();
    if (this.#closed) throw new RegistryError('UNAVAILABLE', { reason: 'closed' });
    const url = new URL(pathOf(request.operation), this.#origin);
    const incoming = await this.#send(url, request, o);
    const status = incoming.statusCode ?? 0;
    const good = (status >= 200 && status < 300) || status === 304 || status === 307;
    if (!good) throw await refusal(incoming, status, request.operation);
    return response(incoming, status, url, request.method);
  }

  canonicalName(name: string): string {
    return name;
  }

  async probe({ signal }: CallOptions): Promise<readonly ProbeStep[]> {
    const ping: RegistryRequest = { method: 'GET', operation: { kind: 'ping' }, headers: new Map() };
    const incoming = await this.#send(new URL('/v2/', this.#origin), ping, { signal });
    incoming.resume();
    return [{ step: 'registry', result: 'fine', said: `it answers ${incoming.statusCode}` }];
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#agent.destroy();
  }

  #send(url: URL, request: RegistryRequest, { signal }: CallOptions): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const headers = Object.fromEntries(request.headers);
      const outgoing = httpRequest(url, { method: request.method, headers, agent: this.#agent, signal });
      outgoing.once('response', resolve);
      outgoing.on('error', (cause) => {
        reject(signal.aborted ? signal.reason : new RegistryError('UNAVAILABLE', { cause }));
      });
      if (request.body) pipeline(request.body, outgoing, () => undefined);
      else outgoing.end();
    });
  }
}

function pathOf(operation: RegistryOperation): string {
  switch (operation.kind) {
    case 'ping':
      return '/v2/';
    case 'catalog':
      return `/v2/_catalog${query(operation.page)}`;
    case 'tags':
      return `/v2/${operation.repository}/tags/list${query(operation.page)}`;
    case 'referrers':
      return `/v2/${operation.repository}/referrers/${operation.digest}${query(operation.page)}`;
    case 'manifest':
      return `/v2/${operation.repository}/manifests/${printReference(operation.reference)}`;
    case 'blob':
      return `/v2/${operation.repository}/blobs/${operation.digest}`;
    case 'upload':
      return uploadPath(operation);
  }
}

function uploadPath(operation: RegistryOperation & { kind: 'upload' }): string {
  const url = new URL(operation.session ?? `http://upload.invalid/v2/${operation.repository}/blobs/uploads/`);
  if (operation.digest !== undefined) url.searchParams.set('digest', operation.digest);
  if (operation.mount) {
    url.searchParams.set('mount', operation.mount.digest);
    if (operation.mount.from !== undefined) url.searchParams.set('from', operation.mount.from);
  }
  return `${url.pathname}${url.search}`;
}

function query(page: string): string {
  return page === '' ? '' : `?${page}`;
}

function response(incoming: IncomingMessage, status: number, url: URL, method: string): RegistryResponse {
  const headers = new Map<string, string>();
  for (const name of responseHeaders) {
    const value = incoming.headers[name];
    if (typeof value === 'string') headers.set(name, value);
  }
  const { link } = incoming.headers;
  const location = locationOf(incoming, status, url, method);
  const next = typeof link === 'string' ? nextLink(link) : undefined;
  const bodiless = method === 'HEAD' || status === 304 || status === 307;
  if (bodiless) incoming.resume();
  return {
    status,
    headers,
    ...(!bodiless && { body: incoming }),
    ...(location !== undefined && { location }),
    ...(next !== undefined && { nextPage: new URL(next, url).search.slice(1) }),
  };
}

/** Where the bytes are, or an upload goes on: the registry's own. @throws RegistryError UNAVAILABLE */
function locationOf(incoming: IncomingMessage, status: number, url: URL, method: string): URL | undefined {
  const { location = '' } = incoming.headers;
  if (status === 307) return new URL(location, url);
  if (method === 'DELETE' || (status !== 202 && status !== 204)) return undefined;
  const session = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
  if (location !== '' && session?.origin === url.origin) return session;
  incoming.resume();
  throw new RegistryError('UNAVAILABLE', { reason: 'an upload is to go on elsewhere' });
}

async function refusal(
  incoming: IncomingMessage,
  status: number,
  operation: RegistryOperation,
): Promise<RegistryError> {
  const text = await readText(incoming);
  if (status < 400 || status >= 500) return new RegistryError('UNAVAILABLE', { reason: `status ${status}` });
  if (status === 401 || status === 403) return new RegistryError('NAME_UNKNOWN');
  const retryAfter = Number(incoming.headers['retry-after']);
  return new RegistryError(codeIn(text) ?? codeFor(status, operation), {
    status,
    ...(retryAfter > 0 && { retryAfter }),
  });
}

/** At most so many characters; a body that is cut short is as good as none. */
async function readText(incoming: IncomingMessage): Promise<string> {
  let text = '';
  try {
    for await (const piece of incoming.setEncoding('utf8')) {
      text += piece;
      if (text.length > maxErrorBody) break;
    }
  } catch {
    return '';
  }
  return text;
}

function codeIn(text: string): ErrorCode | undefined {
  try {
    const code = (JSON.parse(text) as { errors?: { code?: string }[] }).errors?.[0]?.code;
    return code !== undefined && code in errorTable ? (code as ErrorCode) : undefined;
  } catch {
    return undefined;
  }
}

/** For answers without a body: HEAD, and those that are not the registry's own. */
function codeFor(status: number, operation: RegistryOperation): ErrorCode {
  if (status === 429) return 'TOOMANYREQUESTS';
  if (status === 405) return 'UNSUPPORTED';
  if (status !== 404) return 'UNKNOWN';
  if (operation.kind === 'manifest') return 'MANIFEST_UNKNOWN';
  return operation.kind === 'blob' ? 'BLOB_UNKNOWN' : 'NAME_UNKNOWN';
}
