/** Why a call is not answered, with its gRPC status. The message is for pod events: one line, no secret. */
export class CallFailure extends Error {
  override readonly name = 'CallFailure';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
