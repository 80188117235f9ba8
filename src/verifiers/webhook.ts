import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { type HttpAnswer, HttpCaller } from '../outgoing/http-caller.js';
import { openSecret, type SecretReader } from '../outgoing/open-secret.js';
import { secretSource } from '../settings/secret-source.js';
import { secureUrl } from '../settings/secure-url.js';
import { serverKeys } from '../settings/server-keys.js';
import { acceptsKey, type ShownSecret, secretShown } from './outside/shown-secret.js';
import { told } from './outside/told.js';
import { reviewFrom, reviewRequest, type TokenReviewStatus } from './webhook/token-review.js';

const config = z.strictObject({
  url: secureUrl().describe('Where a TokenReview is sent with POST. Redirects are not followed.'),
  token: secretSource()
    .optional()
    .describe('What the webhook knows this proxy by, sent as `Authorization: Bearer`.'),
  ...acceptsKey,
  audiences: z
    .array(z.string().min(1))
    .min(1, 'expected one audience at least')
    .optional()
    .describe(
      'Whom a token must be for. Sent as `spec.audiences`; one of them must come back in `status.audiences`.',
    ),
  refusal: z
    .enum(['invalid', 'not-mine'], { error: 'expected invalid or not-mine' })
    .default('invalid')
    .describe(
      'What `authenticated: false` means: wrong, and nobody else is asked; or not its own, and the next verifier is asked.',
    ),
  kind: z
    .enum(['human', 'machine'], { error: 'expected human or machine' })
    .default('human')
    .describe('Whether people or machines are vouched for.'),
  ...serverKeys,
});
type WebhookSettings = z.output<typeof config>;

interface WebhookParts {
  readonly id: string;
  readonly settings: WebhookSettings;
  readonly caller: HttpCaller;
  readonly token?: SecretReader;
}

/** Asks an HTTP server of yours, in the words of Kubernetes' TokenReview (authentication.k8s.io/v1). */
export class WebhookVerifier implements Verifier {
  readonly #parts: WebhookParts;
  readonly #url: URL;

  constructor(parts: WebhookParts) {
    this.#parts = parts;
    this.#url = new URL(parts.settings.url);
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    o.signal.throwIfAborted();
    const { settings } = this.#parts;
    const shown = secretShown(credentials, settings.accepts);
    if (shown === undefined) return undefined;
    const answer = await this.#ask(shown, o);
    if (answer.status < 200 || answer.status > 299) throw this.#noReview(answer);
    const review = reviewFrom(answer.text, (name) => told(name, shown));
    if ('fault' in review) throw this.#unavailable(`its answer is no TokenReview: ${review.fault}`);
    return this.#principal(review, shown);
  }

  close(): Promise<void> {
    return this.#parts.caller.close();
  }

  async #ask(shown: ShownSecret, o: CallOptions): Promise<HttpAnswer> {
    const { caller, token, settings } = this.#parts;
    const authorization = token && `Bearer ${(await token()).reveal()}`;
    return caller.call({
      url: this.#url,
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(authorization && { authorization }) },
      body: JSON.stringify(reviewRequest(shown, settings.audiences)),
      signal: o.signal,
    });
  }

  #principal(status: TokenReviewStatus, shown: ShownSecret): Principal | undefined {
    const { id, settings } = this.#parts;
    const { authenticated, error, audiences, user } = status;
    if (!authenticated) {
      if (settings.refusal === 'not-mine') return undefined;
      throw this.#refused(error === '' ? 'it is not authenticated' : told(error, shown));
    }
    if (error !== '') throw this.#unavailable('it says authenticated, and an error');
    if (user === undefined) throw this.#unavailable('it says authenticated, and no status.user.username');
    this.#requireAudience(audiences);
    const { name, groups, attributes } = user;
    return { verifier: id, name, kind: settings.kind, groups, attributes };
  }

  /**
   * `TokenReviewStatus.audiences`: who asks for audiences must see one of them come back, or the server may not know of
   * audiences at all.
   */
  #requireAudience(audiences: readonly string[]): void {
    const wanted = this.#parts.settings.audiences;
    if (wanted === undefined) return;
    if (audiences.length === 0) throw this.#unavailable('it does not say for which of `audiences`');
    if (!audiences.some((one) => wanted.includes(one))) throw this.#refused('it is for another audience');
  }

  #noReview({ status, headers }: HttpAnswer): RegistryError {
    if (status === 429) {
      const retryAfter = Number(headers.get('retry-after'));
      const isSeconds = Number.isInteger(retryAfter) && retryAfter > 0 && retryAfter <= 3600;
      return new RegistryError('TOOMANYREQUESTS', {
        reason: this.#says('it answered 429'),
        retryAfter: isSeconds ? retryAfter : 5,
      });
    }
    const isRedirect = status >= 300 && status < 400;
    const hint = isRedirect
      ? ': redirects are not followed'
      : status === 401 || status === 403
        ? ': does it know our `token`?'
        : '';
    return this.#unavailable(`it answered ${status}${hint}`);
  }

  #refused(reason: string): RegistryError {
    return new RegistryError('UNAUTHORIZED', { reason: this.#says(reason) });
  }

  #unavailable(reason: string): RegistryError {
    return new RegistryError('UNAVAILABLE', { reason: this.#says(reason) });
  }

  #says(what: string): string {
    return `the webhook ${this.#url.host}: ${what}`;
  }
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'webhook',
  config,
  async open(settings, { id, baseDirectory, log }) {
    const token = settings.token && (await openSecret(settings.token, { id, baseDirectory, log }));
    const caller = await HttpCaller.open(settings, baseDirectory);
    return new WebhookVerifier({ id, settings, caller, ...(token && { token }) });
  },
});
