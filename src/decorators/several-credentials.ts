import type {
  CallOptions,
  Clock,
  Credential,
  CredentialSource,
  CredentialTarget,
  Log,
} from '../contracts/index.js';
import { describeError } from '../errors.js';
import { CredentialPlace } from './credential-place.js';
import { sameCredential } from './same-credential.js';

export interface SeveralCredentialsSettings {
  readonly clock: Clock;
  readonly log: Log;
  /** The upstream's configured name. */
  readonly upstream: string;
}

type Asked = CallOptions & { readonly rejected?: Credential };

/** What can be given, and whose it is. */
interface Offer {
  readonly place: CredentialPlace;
  readonly credential: Credential;
}

/**
 * Of several credentials for one upstream the first that the registry does not refuse, so that a password can be changed
 * without an outage. A refused one rests, unless its source has another by then. Only refusals decide, never a 429. The
 * sources are not closed with it: whoever opened them closes them.
 */
export class SeveralCredentials implements CredentialSource {
  readonly #places: readonly CredentialPlace[];
  readonly #settings: SeveralCredentialsSettings;

  /** @param sources at least one, the preferred one first */
  constructor(sources: readonly CredentialSource[], settings: SeveralCredentialsSettings) {
    this.#settings = settings;
    this.#places = sources.map((source, i) => new CredentialPlace(source, i + 1, settings.clock));
  }

  async credentialFor(target: CredentialTarget, o: Asked): Promise<Credential | undefined> {
    o.signal.throwIfAborted();
    const { rejected, signal } = o;
    const giver = rejected && this.#places.find((place) => place.hasGiven(rejected));
    if (giver === undefined || rejected === undefined)
      return (await this.#choose(target, { signal }))?.credential;
    const other = await this.#anotherOf(giver, target, rejected, signal);
    if (other !== undefined) return this.#give({ place: giver, credential: other });
    const isNews = giver.rest(rejected);
    const offer = await this.#choose(target, { signal });
    if (isNews) this.#tellRefusal(giver, offer);
    return offer?.credential;
  }

  /** It rests no more. */
  accepted(credential: Credential): void {
    for (const place of this.#places) {
      if (!place.hasGiven(credential)) continue;
      place.accepted(credential);
      place.source.accepted?.(credential);
    }
  }

  /** Where one may not, or cannot now, the next may. @throws what the first threw, where none did it */
  async createRepository(target: Required<CredentialTarget>, o: CallOptions): Promise<boolean> {
    const failures: unknown[] = [];
    for (const { source } of this.#places) {
      try {
        if (await source.createRepository?.(target, o)) return true;
      } catch (error) {
        o.signal.throwIfAborted();
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
    return false;
  }

  async close(): Promise<void> {}

  /** @returns undefined where the source has no other */
  async #anotherOf(
    giver: CredentialPlace,
    target: CredentialTarget,
    rejected: Credential,
    signal: AbortSignal,
  ): Promise<Credential | undefined> {
    try {
      const other = await giver.ask(target, { signal, rejected, isUrgent: this.#hasOther(giver) });
      const isSame = other === undefined || sameCredential(other, rejected) || giver.restsWith(other);
      return isSame ? undefined : other;
    } catch (error) {
      signal.throwIfAborted();
      this.#tellFailure(giver, error);
      return undefined;
    }
  }

  /**
   * The first that does not rest; where all do, the one that rests longest: registries err, too.
   *
   * @throws what the first threw, where none can be had
   */
  async #choose(target: CredentialTarget, o: CallOptions): Promise<Offer | undefined> {
    const resting: Offer[] = [];
    const failures: unknown[] = [];
    for (const place of this.#places) {
      try {
        const credential = await place.ask(target, { ...o, isUrgent: this.#hasOther(place) });
        this.#tellRecovery(place);
        if (credential === undefined) continue;
        if (!place.restsWith(credential)) {
          this.#give({ place, credential });
          return { place, credential };
        }
        resting.push({ place, credential });
      } catch (error) {
        o.signal.throwIfAborted();
        this.#tellFailure(place, error);
        failures.push(error);
      }
    }
    const longest = resting.sort((a, b) => restingSince(a) - restingSince(b))[0];
    if (longest === undefined && failures.length > 0) throw failures[0];
    return longest;
  }

  #hasOther(place: CredentialPlace): boolean {
    return this.#places.some((other) => other !== place && !other.isFailing);
  }

  #give({ place, credential }: Offer): Credential {
    if (place.wake()) {
      this.#settings.log.info(
        this.#fields(place),
        `${this.#name(place)} is tried again after it was refused`,
      );
    }
    place.given(credential);
    return credential;
  }

  #tellRefusal(place: CredentialPlace, next: Offer | undefined): void {
    const isGood = next !== undefined && !next.place.restsWith(next.credential);
    const then = isGood ? `; going on with credential ${next.place.number}` : ', and there is no other';
    this.#settings.log.error(this.#fields(place), `${this.#name(place)} is refused${then}`);
  }

  /** Once, until it can be had again: its source tells each failure itself. */
  #tellFailure(place: CredentialPlace, error: unknown): void {
    if (place.isFailing) return;
    place.isFailing = true;
    const fields = { ...this.#fields(place), error: describeError(error) };
    this.#settings.log.warn(
      fields,
      `${this.#name(place)} cannot be had; another one is used where there is one`,
    );
  }

  #tellRecovery(place: CredentialPlace): void {
    if (!place.isFailing) return;
    place.isFailing = false;
    this.#settings.log.info(this.#fields(place), `${this.#name(place)} can be had again`);
  }

  #fields({ number }: CredentialPlace) {
    return { upstream: this.#settings.upstream, credential: number };
  }

  #name({ number }: CredentialPlace): string {
    return `credential ${number} of upstream ${this.#settings.upstream}`;
  }
}

function restingSince({ place, credential }: Offer): number {
  return place.restingSince(credential) ?? Number.POSITIVE_INFINITY;
}
