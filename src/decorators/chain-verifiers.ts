import type { CallOptions, ClientCredentials, Principal, Verifier } from '../contracts/index.js';

/**
 * Asks several verifiers as one: those that recognise the credentials first, then all others in order. The first
 * principal or error is the answer.
 */
export class ChainVerifier implements Verifier {
  readonly #verifiers: ReadonlyMap<string, Verifier>;

  /** @param verifiers by their configured id, in order */
  constructor(verifiers: ReadonlyMap<string, Verifier>) {
    this.#verifiers = verifiers;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    const all = [...this.#verifiers.values()];
    const first = all.filter((verifier) => verifier.recognises?.(credentials) === true);
    for (const verifier of [...first, ...all.filter((verifier) => !first.includes(verifier))]) {
      const principal = await verifier.verify(credentials, o);
      if (principal !== undefined) return principal;
    }
    return undefined;
  }

  /** Only the verifier that vouched for a principal is asked again. */
  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    return this.#verifiers.get(known.verifier)?.recheck?.(known, o);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#verifiers.values()].map((verifier) => verifier.close()));
  }
}
