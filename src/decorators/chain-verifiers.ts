import type { CallOptions, ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { secretIn } from '../contracts/verifier.js';
import { isIdentityEnvelope, isMachineUser } from '../protocol/identity-envelope.js';
import type { LanedVerifier } from './throttle-verifier.js';

/** A verifier in a chain. */
export interface ChainedVerifier extends Verifier {
  /** True where the user name that is shown is one of its own. Cheap, and without I/O. */
  reserves?(credentials: ClientCredentials): boolean;
}

/**
 * Asks several verifiers as one: those that recognise the secret by its form first, for a token is nobody else's,
 * whatever name is shown with it; then those that have the name reserved; then all others; each in order. The first
 * principal or error is the answer. A machine's proof is shown to those alone that recognise it, or have its name.
 */
export class ChainVerifier implements LanedVerifier {
  readonly #verifiers: ReadonlyMap<string, ChainedVerifier>;

  /** @param verifiers by their configured id, in order */
  constructor(verifiers: ReadonlyMap<string, ChainedVerifier>) {
    this.#verifiers = verifiers;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    for (const verifier of this.#inTurn(credentials)) {
      const principal = await verifier.verify(credentials, o);
      if (principal !== undefined) return principal;
    }
    return undefined;
  }

  /** What only one of them is asked about first waits for nobody else's directory. */
  laneOf(credentials: ClientCredentials): string {
    return this.#own(credentials)[0]?.[0] ?? '';
  }

  #inTurn(credentials: ClientCredentials): readonly Verifier[] {
    const own = this.#own(credentials).map(([, verifier]) => verifier);
    // Whoever else saw it could show it as its own.
    if (isOfMachine(credentials)) return own;
    return [...new Set([...own, ...this.#verifiers.values()])];
  }

  /** Those whose own the credentials are, by form and then by name. */
  #own(credentials: ClientCredentials): readonly (readonly [string, ChainedVerifier])[] {
    const all = [...this.#verifiers];
    const byForm = all.filter(([, verifier]) => verifier.recognises?.(credentials) === true);
    const byName = all.filter(([, verifier]) => verifier.reserves?.(credentials) === true);
    return [...byForm, ...byName];
  }

  /** Only the verifier that vouched for a principal is asked again. */
  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    return this.#verifiers.get(known.verifier)?.recheck?.(known, o);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#verifiers.values()].map((verifier) => verifier.close()));
  }
}

/** What a machine proves itself with, also where somebody shows it by hand and without its envelope. */
function isOfMachine({ shown }: ClientCredentials): boolean {
  if (shown.kind === 'password' && isMachineUser(shown.username)) return true;
  return isIdentityEnvelope(secretIn(shown)?.reveal() ?? '');
}
