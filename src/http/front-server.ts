import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type Audit,
  type AuditEvent,
  type ClientCredentials,
  type Log,
  type Metrics,
  type Principal,
  qualifiedName,
  type RegistryOperation,
  requestHeaders,
  type TokenIssuer,
} from '../contracts/index.js';
import { clientNetwork } from '../decorators/client-network.js';
import { RegistryError } from '../errors.js';
import type { AccessRecord, ClientResponse } from '../proxy/client-request.js';
import type { RegistryService } from '../proxy/registry-service.js';
import type { TokenRecord, TokenService } from '../token/token-service.js';
import { type Ending, pageAuditEvents, registryAuditEvent, tokenAuditEvent } from './audit-events.js';
import { parseAuthorization } from './authorization.js';
import { cacheStatus } from './cache-status.js';
import { closeUnlessRead, hasUnreadBody } from './end-answer.js';
import { type ChallengeFor, errorResponse } from './error-response.js';
import { Exchange, type ExchangeParts } from './exchange.js';
import { ExchangeLog, type Outcome, outcomeOfGone } from './exchange-log.js';
import type { SignIn } from './pages/page-context.js';
import { type PageRoute, pageAt } from './pages/page-route.js';
import { PageServer } from './pages/page-server.js';
import { parseMethod, parseTarget } from './parse-registry-request.js';
import { PartsInUse } from './parts-in-use.js';
import { type RequestLimitSettings, RequestLimits } from './request-limits.js';
import { sendBody } from './send-body.js';
import { parseTokenRequest, printTokenAnswer } from './token-endpoint.js';

/** What a reload replaces. */
export interface FrontParts extends ExchangeParts {
  readonly registry: RegistryService;
  readonly token: TokenService;
  readonly tokens: TokenIssuer;
  readonly limits: RequestLimitSettings;
  readonly audit?: Audit;
  /** Absent: nobody signs in by browser. */
  readonly signIn?: SignIn;
}

/** What stays over a reload. */
export interface FrontSurroundings {
  readonly log: Log;
  readonly metrics: Metrics;
}

/** One exchange with the parts it works with to its end. */
interface Work {
  readonly exchange: Exchange;
  readonly parts: FrontParts;
  /** Called at the end. */
  readonly releases: (() => void)[];
}

const apiVersion = { 'docker-distribution-api-version': 'registry/2.0' } as const;

/** The proxy's HTTP surface: the registry API under `/v2/`, the token server under `/token`, and pages for people. */
export class FrontServer {
  readonly #parts: PartsInUse<FrontParts>;
  readonly #log: ExchangeLog;
  readonly #limits: RequestLimits;
  readonly #pages: PageServer;

  constructor(parts: FrontParts, { log, metrics }: FrontSurroundings) {
    this.#parts = new PartsInUse(parts);
    this.#log = new ExchangeLog(log, metrics);
    this.#limits = new RequestLimits(metrics);
    this.#pages = new PageServer(this.#log);
  }

  /** Serves what comes from now on with other parts. @returns when no request needs the earlier ones any more */
  use(parts: FrontParts): Promise<void> {
    return this.#parts.replace(parts);
  }

  /** The parts that new requests are served with. */
  get parts(): FrontParts {
    return this.#parts.current;
  }

  /** Never rejects and never throws: every failure is answered and logged. */
  readonly handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { parts, leave } = this.#parts.enter();
    const exchange = new Exchange(request, response, parts);
    this.#log.certificate(exchange);
    const work: Work = { exchange, parts, releases: [leave] };
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const { accept } = request.headers;
    const page = pageAt(path, { accept, canSignIn: parts.signIn !== undefined });
    try {
      if (path === '/token') await this.#token(work);
      else if (path === '/token/jwks.json') await this.#publish(work, 'application/json', jwksOf);
      else if (path === '/token/ca.pem') await this.#publish(work, 'application/x-pem-file', certificatesOf);
      else if (page !== undefined) await this.#page(work, page);
      else await this.#registry(work);
    } catch (error) {
      this.#log.bug(exchange, error);
      response.destroy();
    } finally {
      for (const release of work.releases) release();
    }
  };

  async #registry(work: Work): Promise<void> {
    const { exchange, parts } = work;
    const { request, host, connection, signal } = exchange;
    const record: AccessRecord = {};
    let operation: RegistryOperation | undefined;
    let outcome: Outcome;
    try {
      this.#admitAddress(work);
      const target = parseTarget(request.url ?? '');
      if (target === undefined)
        throw new RegistryError('UNSUPPORTED', { status: 404, message: 'there is nothing here' });
      operation = target.operation;
      const method = parseMethod(request.method);
      const shown = parseAuthorization(request.headers.authorization);
      exchange.shown = shown.kind;
      const body = exchange.body();
      const answer = await parts.registry.handle(
        {
          ...target,
          host,
          method,
          headers: headersOf(request),
          credentials: { shown, connection },
          admit: (who) => this.#admit(work, who),
          ...(body && { body }),
        },
        record,
        { signal },
      );
      outcome = await answerRegistry(exchange, answer);
    } catch (error) {
      const challenge: ChallengeFor = {
        kind: 'registry',
        host,
        ...(record.wanted && { wanted: record.wanted }),
      };
      outcome = await this.#fail(exchange, error, challenge);
    }
    this.#log.registry(exchange, operation?.kind ?? 'none', record, outcome);
    const bytes = outcome.sent + exchange.received;
    const { method } = request;
    this.#record(
      work,
      (ending) => registryAuditEvent({ ...ending, record, operation, method, bytes }),
      outcome,
    );
  }

  async #token(work: Work): Promise<void> {
    const { exchange, parts } = work;
    const { request, response, host, connection, signal, askForBody } = exchange;
    const record: TokenRecord = {};
    let outcome: Outcome;
    try {
      this.#admitAddress(work);
      const asked = await parseTokenRequest(request, host, connection, { signal, beforeBody: askForBody });
      exchange.shown = asked.refreshToken === undefined ? shownBy(asked.credentials) : 'refresh-token';
      const admit = (who: Principal) => this.#admit(work, who);
      const answer = await parts.token.handle({ ...asked, admit }, record, { signal });
      const body = Buffer.from(printTokenAnswer(answer));
      response.writeHead(200, {
        'content-type': 'application/json',
        'content-length': body.length,
        'cache-control': 'no-store',
        ...closeUnlessRead(request),
      });
      await exchange.end(body);
      outcome = { status: 200, sent: body.length };
    } catch (error) {
      outcome = await this.#fail(exchange, error, { kind: 'token', host });
    }
    this.#log.token(exchange, record, outcome);
    this.#record(work, (ending) => tokenAuditEvent({ ...ending, record }), outcome);
  }

  async #page(work: Work, route: PageRoute): Promise<void> {
    const { exchange, parts } = work;
    const admit = () => this.#admitAddress(work);
    const { record, outcome } = await this.#pages.serve(exchange, parts, route, admit);
    this.#record(work, (ending) => pageAuditEvents({ ...ending, record }), outcome);
  }

  #record(
    { exchange, parts }: Work,
    eventsOf: (ending: Ending) => AuditEvent | readonly AuditEvent[] | undefined,
    { status, error }: Outcome,
  ): void {
    if (parts.audit === undefined) return;
    const { id: requestId, connection, host, shown } = exchange;
    const events = eventsOf({
      ...{ status, error, requestId, shown },
      address: connection.address,
      service: host.service,
    });
    for (const event of [events ?? []].flat()) parts.audit.record(event);
  }

  async #publish(work: Work, contentType: string, print: (tokens: TokenIssuer) => string): Promise<void> {
    const { exchange, parts } = work;
    const { request, response, host } = exchange;
    try {
      this.#admitAddress(work);
      if (request.method !== 'GET' && request.method !== 'HEAD') throw new RegistryError('UNSUPPORTED');
    } catch (error) {
      await this.#fail(exchange, error, { kind: 'token', host });
      return;
    }
    const body = Buffer.from(print(parts.tokens));
    response.writeHead(200, { 'content-type': contentType, 'content-length': body.length });
    await exchange.end(body);
  }

  #admitAddress({ exchange, parts, releases }: Work): void {
    const network = clientNetwork(exchange.connection.address);
    releases.push(this.#limits.enter('address', network, parts.limits.requestsPerAddress));
  }

  /** Anonymous clients are nobody in particular: their addresses count. */
  #admit({ parts, releases }: Work, who: Principal): void {
    if (who.kind === 'anonymous') return;
    releases.push(this.#limits.enter('principal', qualifiedName(who), parts.limits.requestsPerPrincipal));
  }

  async #fail(exchange: Exchange, error: unknown, challenge: ChallengeFor): Promise<Outcome> {
    const { request, response } = exchange;
    const gone = outcomeOfGone(exchange);
    if (gone !== undefined) return gone;
    if (response.headersSent) {
      response.destroy();
      return { status: response.statusCode, sent: 0, error };
    }
    if (!(error instanceof RegistryError)) this.#log.bug(exchange, error);
    const { status, headers, body } = errorResponse(error, challenge);
    response.writeHead(status, {
      ...Object.fromEntries(headers),
      ...(challenge.kind === 'registry' ? apiVersion : { 'cache-control': 'no-store' }),
      ...closeUnlessRead(request),
    });
    await exchange.end(body);
    return { status, sent: 0, error };
  }
}

/** At the token endpoint a certificate speaks for who shows nothing else. */
function shownBy({ shown, connection }: ClientCredentials): Exchange['shown'] {
  return shown.kind === 'none' && connection.peerCertificate !== undefined ? 'certificate' : shown.kind;
}

async function answerRegistry(exchange: Exchange, answer: ClientResponse): Promise<Outcome> {
  const { request, response } = exchange;
  const { status } = answer;
  const headers: Record<string, string> = { ...apiVersion };
  for (const [name, value] of answer.headers) headers[name] = value;
  if (hasUnreadBody(request)) headers.connection = 'close';
  if (answer.cache !== undefined) headers['cache-status'] = cacheStatus(answer.cache);
  if (answer.link !== undefined) headers.link = answer.link;
  if (answer.location !== undefined) headers.location = answer.location;
  if (answer.body === undefined || request.method === 'HEAD') {
    answer.body?.destroy();
    if (status === 204) delete headers['content-length'];
    else if (request.method !== 'HEAD' && status !== 304) headers['content-length'] = '0';
    response.writeHead(status, headers);
    await exchange.end();
    return { status, sent: 0 };
  }
  try {
    response.writeHead(status, headers);
  } catch (error) {
    answer.body.destroy(); // a header that cannot be sent on; the upstream's connection must not wait for a reader
    throw error;
  }
  const length = answer.headers.get('content-length');
  return {
    status,
    ...(await sendBody(answer.body, response, length === undefined ? undefined : Number(length))),
  };
}

/** Those that may go up. */
function headersOf({ headers }: IncomingMessage): ReadonlyMap<string, string> {
  const picked = new Map<string, string>();
  for (const name of requestHeaders) {
    const value = headers[name];
    if (typeof value === 'string') picked.set(name, value);
  }
  return picked;
}

function jwksOf(tokens: TokenIssuer): string {
  return JSON.stringify(tokens.publicKeys().jwks);
}

function certificatesOf(tokens: TokenIssuer): string {
  return tokens.publicKeys().certificates;
}
