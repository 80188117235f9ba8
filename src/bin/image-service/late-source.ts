import type { CallOptions } from '../../contracts/call-options.js';
import type { Clock } from '../../contracts/clock.js';
import type { Credential, CredentialSource, CredentialTarget } from '../../contracts/credential-source.js';
import type { Log } from '../../contracts/log.js';
import { describeError, RegistryError } from '../../errors.js';
import { type Opener, OpeningError } from '../opener.js';

export interface LateSourceParts {
  readonly rule: string;
  /** @throws OpeningError */
  readonly open: (opener: Opener) => Promise<CredentialSource>;
  /** Its own: closed with it. */
  readonly opener: Opener;
  /** Why it could not be opened just now. */
  readonly failure: OpeningError;
  readonly clock: Clock;
  readonly log: Log;
}

type Asked = Parameters<CredentialSource['credentialFor']>[1];

/** Milliseconds between two tries to open it. */
const openEvery = 2_000;

/** A credential source that could not be opened: opened when it is asked, as soon as that is possible. */
export class LateSource implements CredentialSource {
  readonly #parts: LateSourceParts;
  #source: CredentialSource | undefined;
  #opening: Promise<CredentialSource> | undefined;
  #failure: OpeningError;
  #triedAt: number;
  #isClosed = false;

  constructor(parts: LateSourceParts) {
    this.#parts = parts;
    this.#failure = parts.failure;
    this.#triedAt = parts.clock.now();
  }

  async credentialFor(target: CredentialTarget, o: Asked): Promise<Credential | undefined> {
    const source = this.#source ?? (await this.#open());
    return source.credentialFor(target, o);
  }

  accepted(credential: Credential): void {
    this.#source?.accepted?.(credential);
  }

  keyFor(target: CredentialTarget): string {
    if (this.#source === undefined) return 'not open';
    return this.#source.keyFor?.(target) ?? `${target.registry}/${target.name ?? ''}`;
  }

  async createRepository(target: Required<CredentialTarget>, o: CallOptions): Promise<boolean> {
    return (await this.#source?.createRepository?.(target, o)) ?? false;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#opening?.catch(() => undefined);
    await this.#parts.opener.close();
  }

  /** Once for all who ask. @throws RegistryError UNAVAILABLE */
  #open(): Promise<CredentialSource> {
    const sinceTried = this.#parts.clock.now() - this.#triedAt;
    const isTooSoon = sinceTried >= 0 && sinceTried < openEvery;
    if (this.#opening === undefined && (isTooSoon || this.#isClosed)) throw this.#unavailable();
    this.#opening ??= this.#tryToOpen().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #tryToOpen(): Promise<CredentialSource> {
    const { open, opener, clock, log, rule } = this.#parts;
    this.#triedAt = clock.now();
    try {
      this.#source = await open(opener);
    } catch (error) {
      if (error instanceof OpeningError) this.#failure = error;
      else log.error({ rule, error: describeError(error) }, 'opening a credential source failed by a bug');
      throw this.#unavailable();
    }
    log.info({ rule }, 'the credential source of a rule could be opened');
    return this.#source;
  }

  #unavailable(): RegistryError {
    return new RegistryError('UNAVAILABLE', { reason: this.#failure.message });
  }
}
