/**
 * Why there is no answer. Clients show the text to whoever asked them: docker what stands on standard output beside an
 * exit code that is not 0, kubelet what stands on standard error.
 */
export class HelperError extends Error {
  override readonly name = 'HelperError';
  /** As the commands of `docker-registry-proxy` have it: 1 failed, 2 wrong usage or configuration; 128 + n by a signal. */
  readonly code: number;

  /** @param message one line, or one a problem; never a secret */
  constructor(message: string, code = 1, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
