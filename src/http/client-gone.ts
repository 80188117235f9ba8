import type { ServerResponse } from 'node:http';

/** Nobody is left to be answered: no fault of ours or of an upstream. */
export class ClientGone extends Error {
  constructor() {
    super('the client went away');
  }
}

/** We ended the client's connection, for a bound was passed. */
export class CutByUs extends Error {
  /** @param bound the setting */
  constructor(bound: 'limits.idle' | 'drainTimeout') {
    super(`cut by us: ${bound}`);
  }
}

/** Why an answer's connection ended before the answer. */
export function whyGone({ errored }: ServerResponse): ClientGone | CutByUs {
  return errored instanceof CutByUs ? errored : new ClientGone();
}
