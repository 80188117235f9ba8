import { RegistryError } from '../../errors.js';
import type { RouteTable } from '../../routing/route-table.js';
import { closeUnlessRead } from '../end-answer.js';
import type { Exchange } from '../exchange.js';
import { type ExchangeLog, type Outcome, outcomeOfGone } from '../exchange-log.js';
import { answerPage } from './answer-page.js';
import { errorPage } from './error-page.js';
import { document, type PageAnswer, pageHeaders } from './page-answer.js';
import { PageContext, type SignIn } from './page-context.js';
import { knownError, nextStep } from './page-error.js';
import type { PageRecord } from './page-record.js';
import type { PageRoute } from './page-route.js';

export interface PageParts {
  readonly routes: RouteTable;
  readonly signIn?: SignIn;
}

/** The pages for people: what this registry is, and their sign-in by browser. */
export class PageServer {
  readonly #log: ExchangeLog;

  constructor(log: ExchangeLog) {
    this.#log = log;
  }

  /**
   * Answers and logs one page request. Every failure becomes a page.
   *
   * @param admit throws where this client has too many requests under way
   */
  async serve(
    exchange: Exchange,
    { routes, signIn }: PageParts,
    route: PageRoute,
    admit: () => void,
  ): Promise<{ readonly record: PageRecord; readonly outcome: Outcome }> {
    const record: PageRecord = { page: route.name };
    const context = new PageContext(exchange, routes.hosts, record);
    let outcome: Outcome;
    try {
      admit();
      if (!route.methods.includes(exchange.request.method ?? '')) throw new RegistryError('UNSUPPORTED');
      outcome = await send(exchange, await answerPage(route, context, signIn));
    } catch (error) {
      outcome = await this.#fail(context, route, error);
    }
    this.#log.page(exchange, record, outcome);
    return { record, outcome };
  }

  async #fail(context: PageContext, route: PageRoute, error: unknown): Promise<Outcome> {
    const { exchange, host, cookies } = context;
    const gone = outcomeOfGone(exchange);
    if (gone !== undefined) return gone;
    const known = knownError(error);
    if (known.code === 'UNKNOWN') this.#log.bug(exchange, error);
    const body = errorPage({ host, error: known, next: nextStep(error), requestId: exchange.id });
    const answer = document(body, known.status);
    const headers = {
      ...answer.headers,
      ...(known.status === 405 && { allow: route.methods.join(', ') }),
      ...(known.retryAfter !== undefined && { 'retry-after': String(known.retryAfter) }),
    };
    // A sign-in that failed is not gone on with; one that was not looked at can be.
    const isOver = route.name === 'callback' && known.code !== 'TOOMANYREQUESTS';
    const cleared = isOver ? [cookies.clear('sign-in')] : [];
    return { ...(await send(exchange, { ...answer, headers, cookies: cleared })), error: known };
  }
}

async function send(
  exchange: Exchange,
  { status, headers, cookies = [], body }: PageAnswer,
): Promise<Outcome> {
  const { request, response } = exchange;
  response.writeHead(status, {
    ...pageHeaders,
    ...headers,
    ...(status !== 304 && { 'content-length': body?.length ?? 0 }),
    ...(cookies.length > 0 && { 'set-cookie': [...cookies] }),
    ...closeUnlessRead(request),
  });
  await exchange.end(body);
  return { status, sent: request.method === 'HEAD' ? 0 : (body?.length ?? 0) };
}
