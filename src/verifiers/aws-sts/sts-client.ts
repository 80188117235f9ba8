import type { CallOptions } from '../../contracts/index.js';
import { FairTurns } from '../../decorators/fair-turns.js';
import { RegistryError } from '../../errors.js';
import type { HttpAnswer, HttpCaller } from '../../outgoing/http-caller.js';
import { serverIdHeader, stsQuery } from '../../protocol/sts-proof.js';
import { awsPlace } from '../../reference/aws-endpoint.js';
import { refused } from '../machine/shown-proof.js';
import { type CallerIdentity, parseCallerIdentity, parseStsError } from './caller-identity.js';
import type { PresignedRequest } from './presigned-request.js';

/** Anybody can make up requests that are well formed, and only STS knows that nobody signed them. */
const atOnce = 16;
const waiting = 1000;
/**
 * Of those at once, to regions whose STS has never answered: a name of the right form need not be a region, and a look-up
 * of one that is none holds one of the few threads that also read files.
 */
const unprovenAtOnce = 2;

/** STS limits by 400 as well as by 429. */
const busy = /^(?:Throttl\w*|RequestLimitExceeded|TooManyRequests\w*|ServiceUnavailable|Internal\w*)$/;

const advice: Readonly<Record<string, string>> = {
  ExpiredToken: "the machine's AWS credentials have ended",
  InvalidClientTokenId:
    'AWS does not know these keys, or not in this region: is it one that the account has enabled?',
  SignatureDoesNotMatch:
    'it was changed, or signed for another region’s endpoint, or the machine’s clock or secret key is wrong',
};

/** Sends requests to STS that others signed, each built anew from its parameters. */
export class StsClient {
  readonly #caller: HttpCaller;
  readonly #turns = new FairTurns({ atOnce, waiting, refusal });
  readonly #unproven = new FairTurns({ atOnce: unprovenAtOnce, waiting, refusal });
  /** Regions that there are. */
  readonly #proven: Set<string>;

  /** @param named regions that somebody vouches for */
  constructor(caller: HttpCaller, named: readonly string[] = []) {
    this.#caller = caller;
    this.#proven = new Set(named);
  }

  /**
   * @param network of the client: turns are shared among these
   * @throws RegistryError UNAUTHORIZED where STS refuses it; UNAVAILABLE where STS cannot be asked, or answers anything
   *   else
   */
  async callerIdentity(
    request: PresignedRequest,
    network: string,
    { signal }: CallOptions,
  ): Promise<CallerIdentity> {
    const { audience, region, parameters } = request;
    const { host, partition } = awsPlace(region);
    // Nothing of it is the client's to choose but values of parameters, each of a known form (CVE-2020-16250).
    const url = new URL(`https://${host('sts')}/?${stsQuery(parameters)}`);
    const headers = { accept: 'application/json', [serverIdHeader]: audience };
    const answer = await this.#inTurn(region, network, { signal }, () =>
      this.#caller.call({ url, headers, signal }),
    );
    if (answer.status !== 200) throw failure(answer, region);
    const identity = parseCallerIdentity(answer.text);
    if (identity === undefined || identity.partition !== partition) {
      throw unavailable(region, 'answered something that is no caller identity');
    }
    return identity;
  }

  async #inTurn(
    region: string,
    network: string,
    o: CallOptions,
    ask: () => Promise<HttpAnswer>,
  ): Promise<HttpAnswer> {
    const asked = async () => {
      const answer = await this.#turns.run(network, o, ask);
      this.#proven.add(region);
      return answer;
    };
    if (this.#proven.has(region)) return asked();
    // Who waited while another one's answer came need wait no longer.
    const first = () => (this.#proven.has(region) ? Promise.resolve(undefined) : asked());
    return (await this.#unproven.run(network, o, first)) ?? asked();
  }
}

function refusal(): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason: 'too many proofs wait for STS' });
}

function failure({ status, text }: HttpAnswer, region: string): RegistryError {
  const code = parseStsError(text);
  if (status === 429 || status >= 500 || (code !== undefined && busy.test(code))) {
    return unavailable(region, `answered ${status}${code === undefined ? '' : ` ${code}`}`);
  }
  if (status >= 300 && status < 400) {
    return unavailable(region, `answered ${status}; redirects are not followed`);
  }
  // Whoever else stands between: a proxy that forbids it says nothing about the machine.
  if ((status !== 400 && status !== 403) || code === undefined) {
    return unavailable(region, `answered ${status}, and not as STS does: is there a proxy between?`);
  }
  const hint = Object.hasOwn(advice, code) ? `: ${advice[code]}` : '';
  return refused(`STS in ${region} answered ${status} ${code}${hint}`);
}

function unavailable(region: string, what: string): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason: `STS in ${region} ${what}` });
}
