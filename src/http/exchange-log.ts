import type { Log, Metrics } from '../contracts/index.js';
import { describeError, RegistryError } from '../errors.js';
import type { AccessRecord } from '../proxy/client-request.js';
import type { TokenRecord } from '../token/token-service.js';
import { ClientGone, CutByUs } from './client-gone.js';
import type { Exchange } from './exchange.js';
import { frontMetrics } from './front-metrics.js';
import type { PageRecord } from './pages/page-record.js';

/** How an exchange ended. */
export interface Outcome {
  /** 499 where nobody was left to be answered. */
  readonly status: number;
  /** Body bytes handed to the client's connection. */
  readonly sent: number;
  /** Also after a good status, where the body failed. */
  readonly error?: unknown;
}

/** Milliseconds between two lines about headers that nobody can read: a proxy sends one with every request. */
const faultEvery = 10_000;

/** Undefined while somebody is left to be answered. */
export function outcomeOfGone({ signal }: Exchange): Outcome | undefined {
  if (!signal.aborted) return undefined;
  const error: unknown = signal.reason;
  return { status: error instanceof CutByUs ? 503 : 499, sent: 0, error };
}

/** What is written and counted of each exchange. */
export class ExchangeLog {
  readonly #log: Log;
  readonly #metrics: ReturnType<typeof frontMetrics>;
  #faultAt = Number.NEGATIVE_INFINITY;
  #unlogged = 0;

  constructor(log: Log, metrics: Metrics) {
    this.#log = log;
    this.#metrics = frontMetrics(metrics);
  }

  registry(exchange: Exchange, operation: string, full: AccessRecord, outcome: Outcome): void {
    const { wanted: _, tag: __, ...record } = full;
    const seconds = (performance.now() - exchange.startedAt) / 1000;
    const upstream = record.upstream ?? 'none';
    const status = String(outcome.status);
    this.#metrics.requests.add({ operation, method: methodLabel(exchange), status, upstream });
    this.#metrics.duration.observe({ operation }, seconds);
    this.#metrics.sent.add({ upstream }, outcome.sent);
    this.#metrics.received.add({ upstream }, exchange.received);
    const by = cutBy(outcome);
    if (by !== undefined) this.#metrics.cut.add({ operation, upstream, by });
    const { level, fields } = outcomeFields(outcome);
    this.#log[level](
      {
        event: 'access',
        ...whoAndWhere(exchange),
        operation,
        ...verifierOf(outcome),
        ...record,
        status: outcome.status,
        bytes: outcome.sent,
        ...(exchange.received > 0 && { received: exchange.received }),
        seconds: Number(seconds.toFixed(4)),
        ...fields,
      },
      'access',
    );
  }

  token(exchange: Exchange, record: TokenRecord, outcome: Outcome): void {
    this.#metrics.tokens.add({ status: String(outcome.status) });
    const { level, fields } = outcomeFields(outcome);
    this.#log[level](
      {
        event: 'token',
        ...whoAndWhere(exchange),
        ...verifierOf(outcome),
        ...record,
        status: outcome.status,
        ...fields,
      },
      'token',
    );
  }

  /** A trusted proxy and its header do not fit: the client counts as one without a certificate. */
  certificate({ id, request, certificateFault }: Exchange): void {
    if (certificateFault === undefined) return;
    const now = performance.now();
    if (now - this.#faultAt < faultEvery) {
      this.#unlogged += 1;
      return;
    }
    const fields = { requestId: id, peer: request.socket.remoteAddress, reason: certificateFault };
    const line = { event: 'client-certificate-header', ...fields, unlogged: this.#unlogged };
    this.#log.warn(line, 'the certificate in clientCertificateHeader does not count');
    this.#faultAt = now;
    this.#unlogged = 0;
  }

  /** The query is left out: that of a browser which comes back from the provider has a code. */
  page(exchange: Exchange, { hasSignedIn: _, ...record }: PageRecord, outcome: Outcome): void {
    this.#metrics.pages.add({ page: record.page, status: String(outcome.status) });
    const { level, fields } = outcomeFields(outcome);
    this.#log[level](
      {
        event: 'page',
        ...whoAndWhere(exchange),
        ...verifierOf(outcome),
        ...record,
        status: outcome.status,
        ...fields,
      },
      'page',
    );
  }

  /** Anything that is not a RegistryError is a bug. */
  bug({ id }: Exchange, error: unknown): void {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#log.error({ requestId: id, stack }, 'a request failed unexpectedly');
  }
}

function whoAndWhere({ id, connection, host, request }: Exchange) {
  return { requestId: id, address: connection.address, host: host.service, method: request.method };
}

/** Who refused, or could not tell: nobody has vouched then, and the record says nothing of it. */
function verifierOf({ error }: Outcome) {
  const verifier = error instanceof RegistryError ? error.verifier : undefined;
  return verifier === undefined ? {} : { verifier };
}

/** Our own and the upstreams' faults are loud, also after a good status; clients' are not. */
function outcomeFields({ error, status }: Outcome) {
  const broken = status < 400 && error !== undefined && !(error instanceof ClientGone);
  const level: 'info' | 'warn' = status >= 500 || broken ? 'warn' : 'info';
  if (error === undefined) return { level, fields: {} };
  const code = error instanceof RegistryError ? { error: error.code } : {};
  return { level, fields: { ...code, reason: describeError(error) } };
}

/** Undefined where the transfer came to its end, or an error could be answered. */
function cutBy({ error, status }: Outcome): 'client' | 'us' | 'upstream' | undefined {
  if (error instanceof ClientGone) return 'client';
  if (error instanceof CutByUs) return 'us';
  return error !== undefined && status < 400 ? 'upstream' : undefined;
}

function methodLabel({ request: { method } }: Exchange): string {
  return method !== undefined && /^(GET|HEAD|POST|PUT|PATCH|DELETE)$/.test(method) ? method : 'other';
}
