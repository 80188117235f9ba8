import { z } from 'zod';
import type { CallOptions } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import type { HttpCaller } from '../../outgoing/http-caller.js';
import type { SecretReader } from '../../outgoing/open-secret.js';
import { type UserInfo, userInfo } from './service-account.js';

const apiVersion = 'authentication.k8s.io/v1';
const kind = 'TokenReview';

/** Characters of an API server's words in a log. */
const maxError = 300;

const answer = z.object({
  apiVersion: z.literal(apiVersion),
  kind: z.literal(kind),
  status: z.object({
    authenticated: z.boolean().optional(),
    user: userInfo.optional(),
    audiences: z.array(z.string()).nullish(),
    error: z.string().optional(),
  }),
});
type Status = z.output<typeof answer>['status'];

/** Has an API server judge tokens: it also knows which pods and ServiceAccounts are gone. */
export class TokenReviewer {
  readonly #url: URL;
  readonly #caller: HttpCaller;
  readonly #ownToken: SecretReader;

  /** @param server the API server's URL */
  constructor(server: string, caller: HttpCaller, ownToken: SecretReader) {
    this.#url = new URL(`${server.replace(/\/+$/, '')}/apis/${apiVersion}/tokenreviews`);
    this.#caller = caller;
    this.#ownToken = ownToken;
  }

  /**
   * @throws RegistryError UNAUTHORIZED where the cluster refuses the token, or does not vouch for one of the audiences;
   *   UNAVAILABLE where it cannot be asked
   */
  async review(token: string, audiences: readonly string[], { signal }: CallOptions): Promise<UserInfo> {
    const authorization = `Bearer ${(await this.#ownToken()).reveal()}`;
    const { status, text } = await this.#caller.call({
      url: this.#url,
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify({ apiVersion, kind, spec: { token, audiences } }),
      signal,
    });
    if (status !== 200 && status !== 201) throw this.#unavailable(answered(status));
    return accepted(this.#parse(text), token, audiences);
  }

  #parse(text: string): Status {
    try {
      return answer.parse(JSON.parse(text)).status;
    } catch {
      throw this.#unavailable('answered something that is no TokenReview');
    }
  }

  #unavailable(what: string): RegistryError {
    return new RegistryError('UNAVAILABLE', {
      reason: `${this.#url.origin}${this.#url.pathname}: ${what}`,
    });
  }
}

function answered(status: number): string {
  if (status === 401) return 'answered 401: our own token (review.token) is refused; has it expired?';
  if (status === 403) {
    return 'answered 403: our own token may not create tokenreviews; bind the ClusterRole system:auth-delegator to it';
  }
  return `answered ${status}${status >= 300 && status < 400 ? '; redirects are not followed' : ''}`;
}

function accepted(
  { authenticated, user, audiences: returned, error }: Status,
  token: string,
  audiences: readonly string[],
): UserInfo {
  if (authenticated !== true || user === undefined) {
    const words = error === undefined || error.includes(token) ? '' : `: ${error.slice(0, maxError)}`;
    throw refused(`the cluster refuses it${words}`);
  }
  // An API server, or a webhook behind it, that knows nothing of audiences accepts tokens made for others.
  if (returned?.some((one) => audiences.includes(one)) !== true) {
    throw refused('the cluster does not vouch for one of our audiences');
  }
  return user;
}

/** @param what why, of a token */
export function refused(what: string): RegistryError {
  return new RegistryError('UNAUTHORIZED', { reason: `a ServiceAccount token is refused: ${what}` });
}
