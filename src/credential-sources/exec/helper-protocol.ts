import type { Credential, CredentialTarget } from '../../contracts/index.js';
import type { ProgramResult } from '../../outgoing/run-program.js';

/** How a program is asked for a credential. */
export interface HelperProtocol {
  /** After those of the configuration. */
  readonly args: readonly string[];

  /** Targets with the same key get the same credential: `CredentialSource.keyFor`. */
  keyFor(target: CredentialTarget): string;

  /** What it reads on its standard input. */
  inputFor(target: CredentialTarget): string;

  /**
   * @param o.now milliseconds since the epoch, from before it was asked
   * @returns undefined where it has none for this target
   * @throws an Error that says what is wrong with the answer, and quotes nothing of it
   */
  credentialFrom(
    result: ProgramResult,
    target: CredentialTarget,
    o: { readonly now: number; readonly rejected?: Credential },
  ): Credential | undefined;
}
