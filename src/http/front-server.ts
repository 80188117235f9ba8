import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ClientCredentials, Log, Metrics, TokenIssuer } from '../contracts/index.js';
import { describeError, RegistryError } from '../errors.js';
import type { AccessRecord, ClientResponse } from '../proxy/client-request.js';
import type { RegistryService } from '../proxy/registry-service.js';
import type { RouteTable } from '../routing/route-table.js';
import type { ServedHost } from '../routing/served-host.js';
import type { AddressRanges } from '../settings/address-range.js';
import type { TokenRecord, TokenService } from '../token/token-service.js';
import { parseAuthorization } from './authorization.js';
import { clientAddress } from './client-address.js';
import { type ChallengeFor, errorResponse } from './error-response.js';
import { frontMetrics } from './front-metrics.js';
import { parseMethod, parseTarget } from './parse-registry-request.js';
import { ClientGone, sendBody } from './send-body.js';
import { parseTokenRequest, printTokenAnswer } from './token-endpoint.js';

export interface FrontParts {
  readonly routes: RouteTable;
  readonly registry: RegistryService;
  readonly token: TokenService;
  readonly tokens: TokenIssuer;
  readonly trustedProxies: AddressRanges;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** One request and what is to be logged of it. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly id: string;
  readonly host: ServedHost;
  readonly connection: ClientCredentials['connection'];
  readonly signal: AbortSignal;
  readonly startedAt: number;
}

const apiVersion = { 'docker-distribution-api-version': 'registry/2.0' } as const;

/** The proxy's HTTP surface: the registry API under `/v2/`, and the token server under `/token`. */
export class FrontServer {
  readonly #parts: FrontParts;
  readonly #metrics: ReturnType<typeof frontMetrics>;

  constructor(parts: FrontParts) {
    this.#parts = parts;
    this.#metrics = frontMetrics(parts.metrics);
  }

  /** Never rejects and never throws: every failure is answered and logged. */
  readonly handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const exchange = this.#open(request, response);
    const path = (request.url ?? '').split('?', 1)[0];
    try {
      if (path === '/token') await this.#token(exchange);
      else if (path === '/token/jwks.json') this.#publish(exchange, 'application/json', jwksOf);
      else if (path === '/token/ca.pem') this.#publish(exchange, 'application/x-pem-file', certificatesOf);
      else await this.#registry(exchange);
    } catch (error) {
      this.#parts.log.error(
        { requestId: exchange.id, stack: stackOf(error) },
        'a request failed unexpectedly',
      );
      response.destroy();
    }
  };

  #open(request: IncomingMessage, response: ServerResponse): Exchange {
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) gone.abort(new ClientGone());
    });
    const id = randomUUID();
    response.setHeader('x-request-id', id);
    return {
      request,
      response,
      id,
      host: this.#parts.routes.hosts.find(request.headers.host),
      connection: {
        address: clientAddress(request, this.#parts.trustedProxies),
        ...peerCertificate(request),
      },
      signal: gone.signal,
      startedAt: performance.now(),
    };
  }

  async #registry(exchange: Exchange): Promise<void> {
    const { request, host, connection, signal } = exchange;
    const record: AccessRecord = {};
    let operation = 'none';
    try {
      const target = parseTarget(request.url ?? '');
      if (target === undefined)
        throw new RegistryError('UNSUPPORTED', { status: 404, message: 'there is nothing here' });
      operation = target.operation.kind;
      const answer = await this.#parts.registry.handle(
        {
          ...target,
          host,
          method: parseMethod(request.method),
          headers: headersOf(request),
          credentials: { shown: parseAuthorization(request.headers.authorization), connection },
          ...(hasBody(request) && isUpload(request) && { body: request }),
        },
        record,
        { signal },
      );
      const outcome = await this.#answer(exchange, answer);
      this.#logAccess(exchange, record, operation, answer.status, outcome.sent, outcome.error);
    } catch (error) {
      const challenge: ChallengeFor = {
        kind: 'registry',
        host,
        ...(record.wanted && { wanted: record.wanted }),
      };
      const status = this.#fail(exchange, error, challenge);
      this.#logAccess(exchange, record, operation, status, 0, error);
    }
  }

  async #answer(
    { response, request }: Exchange,
    answer: ClientResponse,
  ): Promise<{ sent: number; error?: unknown }> {
    const headers: Record<string, string> = {
      ...Object.fromEntries(answer.headers),
      ...apiVersion,
      ...closeUnlessRead(request),
    };
    if (answer.link !== undefined) headers.link = answer.link;
    if (answer.location !== undefined) headers.location = answer.location.href;
    if (answer.body === undefined || request.method === 'HEAD') {
      answer.body?.destroy();
      if (answer.status === 307) headers['content-length'] = '0';
      response.writeHead(answer.status, headers).end();
      return { sent: 0 };
    }
    try {
      response.writeHead(answer.status, headers);
    } catch (error) {
      answer.body.destroy(); // a header that cannot be sent on; the upstream's connection must not wait for a reader
      throw error;
    }
    const length = answer.headers.get('content-length');
    return sendBody(answer.body, response, length === undefined ? undefined : Number(length));
  }

  async #token(exchange: Exchange): Promise<void> {
    const { request, response, host, connection, signal } = exchange;
    const record: TokenRecord = {};
    let status = 200;
    let failure: unknown;
    try {
      const asked = await parseTokenRequest(request, host, connection, { signal });
      const answer = await this.#parts.token.handle(asked, record, { signal });
      const body = printTokenAnswer(answer);
      response.writeHead(200, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'cache-control': 'no-store',
      });
      response.end(body);
    } catch (error) {
      failure = error;
      status = this.#fail(exchange, error, { kind: 'token', host });
    }
    this.#logToken(exchange, record, status, failure);
  }

  #publish(exchange: Exchange, contentType: string, print: (tokens: TokenIssuer) => string): void {
    const { request, response, host } = exchange;
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      this.#fail(exchange, new RegistryError('UNSUPPORTED'), { kind: 'token', host });
      return;
    }
    const body = print(this.#parts.tokens);
    response.writeHead(200, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  /** @returns the status answered; 499 where nobody was left to be answered */
  #fail({ request, response, signal, id }: Exchange, error: unknown, challenge: ChallengeFor): number {
    if (signal.aborted) return 499;
    if (response.headersSent) {
      response.destroy();
      return response.statusCode;
    }
    if (!(error instanceof RegistryError)) {
      this.#parts.log.error({ requestId: id, stack: stackOf(error) }, 'a request failed unexpectedly');
    }
    const { status, headers, body } = errorResponse(error, challenge);
    response.writeHead(status, {
      ...Object.fromEntries(headers),
      ...(challenge.kind === 'registry' ? apiVersion : { 'cache-control': 'no-store' }),
      ...closeUnlessRead(request),
    });
    response.end(request.method === 'HEAD' ? undefined : body);
    return status;
  }

  #logAccess(
    exchange: Exchange,
    { wanted: _, ...record }: AccessRecord,
    operation: string,
    status: number,
    bytes: number,
    error: unknown,
  ): void {
    const seconds = (performance.now() - exchange.startedAt) / 1000;
    const upstream = record.upstream ?? 'none';
    this.#metrics.requests.add({
      operation,
      method: methodLabel(exchange.request),
      status: String(status),
      upstream,
    });
    this.#metrics.duration.observe({ operation }, seconds);
    this.#metrics.bytes.add({ upstream }, bytes);
    const { level, fields } = outcomeFields(error, status);
    this.#parts.log[level](
      {
        event: 'access',
        requestId: exchange.id,
        address: exchange.connection.address,
        host: exchange.host.service,
        method: exchange.request.method,
        operation,
        ...record,
        status,
        bytes,
        seconds: Number(seconds.toFixed(4)),
        ...fields,
      },
      'access',
    );
  }

  #logToken(exchange: Exchange, record: TokenRecord, status: number, error: unknown): void {
    this.#metrics.tokens.add({ status: String(status) });
    const { level, fields } = outcomeFields(error, status);
    const { id: requestId, connection, host } = exchange;
    const { method } = exchange.request;
    this.#parts.log[level](
      {
        event: 'token',
        requestId,
        address: connection.address,
        host: host.service,
        method,
        ...record,
        status,
        ...fields,
      },
      'token',
    );
  }
}

/** Our own and the upstreams' faults are loud, also after a good status; clients' are not. */
function outcomeFields(error: unknown, status: number) {
  const broken = status < 400 && error !== undefined && !(error instanceof ClientGone);
  const level: 'info' | 'warn' = status >= 500 || broken ? 'warn' : 'info';
  if (error === undefined) return { level, fields: {} };
  const code = error instanceof RegistryError ? { error: error.code } : {};
  return { level, fields: { ...code, reason: describeError(error) } };
}

function methodLabel({ method }: IncomingMessage): string {
  return method !== undefined && /^(GET|HEAD|POST|PUT|PATCH|DELETE)$/.test(method) ? method : 'other';
}

function headersOf(request: IncomingMessage): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(request.headers).flatMap(([name, value]) =>
      typeof value === 'string' ? [[name, value] as const] : [],
    ),
  );
}

function hasBody(request: IncomingMessage): boolean {
  return (
    request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0
  );
}

function isUpload({ method }: IncomingMessage): boolean {
  return method === 'POST' || method === 'PUT' || method === 'PATCH';
}

/** A body nobody has read must not be read to its end only to keep the connection. */
function closeUnlessRead(request: IncomingMessage): { connection?: 'close' } {
  return hasBody(request) && !request.complete ? { connection: 'close' } : {};
}

function peerCertificate({ socket }: IncomingMessage): { peerCertificate?: Uint8Array } {
  if (!('getPeerCertificate' in socket) || typeof socket.getPeerCertificate !== 'function') return {};
  const certificate: unknown = socket.getPeerCertificate()?.raw;
  return certificate instanceof Uint8Array ? { peerCertificate: certificate } : {};
}

function jwksOf(tokens: TokenIssuer): string {
  return JSON.stringify(tokens.publicKeys().jwks);
}

function certificatesOf(tokens: TokenIssuer): string {
  return tokens.publicKeys().certificates;
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
