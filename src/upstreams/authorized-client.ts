import { Readable } from 'node:stream';
import { RegistryError } from '../errors.js';
import type { Secret } from '../secret.js';
import type { Authorizer, Shown } from './authorizer.js';
import { discard } from './bodies.js';
import type { OperationTarget } from './operation-target.js';
import { followRedirects, isRedirect, redirectTarget } from './redirects.js';
import { maxCredentials } from './refused-credentials.js';
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
   * @param shown the `Authorization` it answers
   * @returns what to throw where it is about something else
   */
  readonly forbidden?: (answer: Answer, shown: Secret | undefined) => Promise<RegistryError | undefined>;
  readonly signal: AbortSignal;
}

export interface Outcome {
  readonly answer: Answer;
  /** The answer is from where the upstream redirected to. */
  readonly redirected: boolean;
  /** With `hand-on`: where it redirects to. The answer's body is gone then. */
  readonly location?: URL;
  /** The `Authorization` it answers. */
  readonly shown?: Secret;
}

/** At most: a challenge that was not known, a cached token, one for wider scopes, and each credential. */
const maxAttempts = 3 + maxCredentials;

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
      const tried = shown;
      try {
        const next = await this.#attempt(request, tried);
        if ('outcome' in next) return next.outcome;
        // What was stale is forgotten now: the client's own retry is let in.
        const once = request.body instanceof Readable;
        if (once || attempt === maxAttempts) {
          const what = once ? 'to a body that cannot be sent twice' : 'again';
          throw new RegistryError('UNAVAILABLE', { reason: `the upstream answers ${next.status} ${what}` });
        }
        shown = next.show;
      } finally {
        this.#authorizer.settled(tried);
      }
    }
  }

  /** @returns an answer, or what to show next after a refusal with this status */
  async #attempt(
    request: AuthorizedRequest,
    shown: Shown,
  ): Promise<{ readonly outcome: Outcome } | { readonly show: Shown; readonly status: number }> {
    const outcome = await this.#sendOnce(request, shown);
    const { answer, redirected } = outcome;
    if (redirected || (answer.status !== 401 && answer.status !== 403)) {
      // Who leads on to storage has let us in, whatever that says.
      this.#authorizer.accepted(shown, redirected ? { status: 200 } : answer);
      return { outcome };
    }
    const other = answer.status === 403 ? await request.forbidden?.(answer, shown.header) : undefined;
    if (other !== undefined) {
      this.#authorizer.accepted(shown, { status: 200 }); // who tells of a quota has let us in
      throw other;
    }
    discard(answer.body);
    const show = await this.#authorizer.afterRefusal(shown, answer, { signal: request.signal });
    return { show, status: answer.status };
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
    const outcome = { answer, redirected: false, ...(shown.header && { shown: shown.header }) };
    if (!isRedirect(answer) || request.redirects === 'refuse') return outcome;
    if (request.redirects === 'hand-on') {
      discard(answer.body);
      return { ...outcome, location: redirectTarget(answer, target.url, this.#upstream) };
    }
    return {
      answer: await followRedirects(this.#transport, outgoing, answer, this.#upstream),
      redirected: true,
    };
  }
}
