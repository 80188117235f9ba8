import { Readable } from 'node:stream';
import { RegistryError } from '../errors.js';
import type { Authorizer, Shown } from './authorizer.js';
import { discard } from './bodies.js';
import type { OperationTarget } from './operation-target.js';
import { followRedirects, isRedirect, redirectTarget } from './redirects.js';
import type { Answer, OutgoingRequest, Transport } from './transport.js';
import { userAgent } from './user-agent.js';

export interface AuthorizedRequest {
  readonly method: string;
  readonly target: OperationTarget;
  /** As they go up; `authorization`, `user-agent` and `accept-encoding` are added. */
  readonly headers: Readonly<Record<string, string>>;
  /** With a stream the request is sent once only; bytes may be sent again. */
  readonly body?: Readable | Uint8Array;
  /** What to do with a redirect: follow it, say where it leads, or take it for the upstream's answer. */
  readonly redirects: 'follow' | 'hand-on' | 'refuse';
  /** How long the answer may take; `headers` where it is missing. */
  readonly answerWithin?: OutgoingRequest['answerWithin'];
  /** Whose connections it takes. */
  readonly pool?: OutgoingRequest['pool'];
  /** It may be sent again where its connection ends before an answer. */
  readonly repeatable?: boolean;
  /**
   * Asked about a 403 before our credential is blamed for it; it reads the answer's body away.
   *
   * @returns what to throw where it is about something else
   */
  readonly forbidden?: (answer: Answer) => Promise<RegistryError | undefined>;
  readonly signal: AbortSignal;
}

export interface Outcome {
  readonly answer: Answer;
  /** The answer is from where the upstream redirected to. */
  readonly redirected: boolean;
  /** With `hand-on`: where it redirects to. The answer's body is gone then. */
  readonly location?: URL;
}

/** At most: a cached token, one for wider scopes, and a replaced credential. */
const maxAttempts = 4;

/** Sends requests with what the upstream wants to see, and again where that was stale. */
export class AuthorizedClient {
  readonly #transport: Transport;
  readonly #authorizer: Authorizer;
  readonly #upstream: URL;

  constructor(transport: Transport, authorizer: Authorizer, upstream: URL) {
    this.#transport = transport;
    this.#authorizer = authorizer;
    this.#upstream = upstream;
  }

  /**
   * @returns any answer of the upstream but its own 401 and 403
   * @throws RegistryError UNAVAILABLE, RepositoryRefused; the signal's reason when that is aborted
   */
  async send(request: AuthorizedRequest): Promise<Outcome> {
    const o = { signal: request.signal };
    let shown = await this.#authorizer.prepare(request.target, o);
    for (let attempt = 1; ; attempt++) {
      const outcome = await this.#sendOnce(request, shown);
      const { answer, redirected } = outcome;
      if (redirected || (answer.status !== 401 && answer.status !== 403)) return outcome;
      const other = answer.status === 403 ? await request.forbidden?.(answer) : undefined;
      if (other !== undefined) throw other;
      discard(answer.body);
      const next = await this.#authorizer.afterRefusal(shown, answer, o);
      // What was stale is forgotten now: the client's own retry is let in.
      const once = request.body instanceof Readable;
      if (once || attempt === maxAttempts) {
        const what = once ? 'to a body that cannot be sent twice' : 'again';
        throw new RegistryError('UNAVAILABLE', { reason: `the upstream answers ${answer.status} ${what}` });
      }
      shown = next;
    }
  }

  async #sendOnce(request: AuthorizedRequest, shown: Shown): Promise<Outcome> {
    const { method, target, headers, body, answerWithin, pool, repeatable, signal } = request;
    const outgoing = {
      method,
      url: target.url,
      headers: {
        ...headers,
        'accept-encoding': 'identity',
        'user-agent': userAgent,
        ...(shown.header !== undefined && { authorization: shown.header.reveal() }),
      },
      ...(body !== undefined && { body }),
      ...(answerWithin !== undefined && { answerWithin }),
      ...(pool !== undefined && { pool }),
      ...(repeatable !== undefined && { repeatable }),
      signal,
    };
    const answer = await this.#transport.send(outgoing);
    if (!isRedirect(answer) || request.redirects === 'refuse') return { answer, redirected: false };
    if (request.redirects === 'hand-on') {
      discard(answer.body);
      return { answer, redirected: false, location: redirectTarget(answer, target.url, this.#upstream) };
    }
    return {
      answer: await followRedirects(this.#transport, outgoing, answer, this.#upstream),
      redirected: true,
    };
  }
}
