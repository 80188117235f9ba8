/** Why a signed document is not accepted: one sentence about it, without its content. */
export class SignedDataError extends Error {
  override readonly name = 'SignedDataError';
}
