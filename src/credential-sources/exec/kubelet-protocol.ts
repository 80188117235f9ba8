import type { Credential, CredentialTarget } from '../../contracts/index.js';
import { sameCredential } from '../../decorators/same-credential.js';
import { endedBadly, type ProgramResult } from '../../outgoing/run-program.js';
import type { HelperProtocol } from './helper-protocol.js';
import { matchingKeys } from './image-match.js';
import { type CacheKeyType, parseKubeletAnswer, requestVersion } from './kubelet-answer.js';

/** Where the registry as a whole is meant: providers parse the name of an image, and take its host. */
const anyRepository = 'library/hello-world';

/** Kubernetes KEP-2133, `credentialprovider.kubelet.k8s.io/v1`: an image asked for, a map of patterns answered. */
export class KubeletProtocol implements HelperProtocol {
  readonly args: readonly string[] = [];
  readonly #refresh: number;
  /** Of the last answer, without its secrets. */
  #last: { readonly cacheKeyType: CacheKeyType; readonly patterns: readonly string[] } | undefined;

  /** @param o.refresh milliseconds that an answer without `cacheDuration` is used */
  constructor({ refresh }: { readonly refresh: number }) {
    this.#refresh = refresh;
  }

  /**
   * kubelet keeps the whole map of an answer for one image, one registry or all; a credential of it is kept here. So
   * images are alike where the map gives them the same one; before the first answer each is its own. `Global` is as
   * `Registry`: there is one registry here.
   */
  keyFor(target: CredentialTarget): string {
    const registry = `registry ${target.registry}`;
    if (target.name === undefined) return registry;
    const image = imageOf(target);
    if (this.#last === undefined || this.#last.cacheKeyType === 'Image') return `image ${image}`;
    const { patterns } = this.#last;
    const any = imageOf({ registry: target.registry });
    const [own, usual] = [image, any].map((one) => matchingKeys(patterns, one).join(' '));
    return own === usual ? registry : `${registry} ${own}`;
  }

  inputFor(target: CredentialTarget): string {
    const request = { apiVersion: requestVersion, kind: 'CredentialProviderRequest', image: imageOf(target) };
    return `${JSON.stringify(request)}\n`;
  }

  credentialFrom(
    { code, stdout }: ProgramResult,
    target: CredentialTarget,
    { now, rejected }: { readonly now: number; readonly rejected?: Credential },
  ): Credential | undefined {
    if (code !== 0) throw new Error(endedBadly(code));
    const answer = parseKubeletAnswer(stdout.toString('utf8'));
    if (answer === undefined) return undefined;
    const { cacheKeyType, cacheDuration, auth } = answer;
    const patterns = [...auth.keys()];
    this.#last = { cacheKeyType, patterns };
    const found = matchingKeys(patterns, imageOf(target))
      .map((key) => auth.get(key))
      .filter((credential) => credential !== undefined);
    // kubelet tries all of them in order.
    const other = found.find((one) => rejected === undefined || !sameCredential(one, rejected));
    const credential = other ?? found[0];
    return credential && { ...credential, ...this.#lifeOf(cacheDuration, now) };
  }

  #lifeOf(cacheDuration: number | undefined, now: number): Pick<Credential, 'expiresAt' | 'refreshAt'> {
    if (cacheDuration === undefined) return { refreshAt: now + this.#refresh };
    return cacheDuration <= 0 ? {} : { expiresAt: now + cacheDuration };
  }
}

/** As kubelet writes it: with the registry, without tag and digest. */
function imageOf({
  registry,
  name = anyRepository as NonNullable<CredentialTarget['name']>,
}: CredentialTarget) {
  return `${registry}/${name}`;
}
