import type { CallOptions, Credential, CredentialSource, CredentialTarget } from '../../contracts/index.js';

/**
 * A source of proofs that are each for somebody. Whatever was refused, it is made anew: nothing is kept here.
 *
 * @param audience whom they are for; without it the registry that is asked
 */
export function proofSource(
  audience: string | undefined,
  {
    prove,
    close,
  }: {
    readonly prove: (audience: string, o: CallOptions) => Promise<Credential>;
    readonly close: () => Promise<void>;
  },
): CredentialSource {
  const audienceOf = ({ registry }: CredentialTarget) => audience ?? registry;
  return {
    // There is nothing else that differs.
    keyFor: audienceOf,
    credentialFor: async (target, { signal }) => {
      signal.throwIfAborted();
      return prove(audienceOf(target), { signal });
    },
    close,
  };
}
