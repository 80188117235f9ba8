/** Ends a command. The message is for standard error. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  readonly code: number;

  /** @param code one of `exitCodes` */
  constructor(message: string, code: number, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
