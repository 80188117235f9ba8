import type { Clock, Log } from '../../contracts/index.js';
import { Seldom } from './seldom.js';

/** Milliseconds between two lines. */
const pause = 60_000;
/** For a log: what a client wrote has any length. */
const maxTold = 5;
const maxLength = 100;

interface Given {
  /** The verifier's. */
  readonly id: string;
  /** What would count. */
  readonly expected: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Tells operators of the usual mistake, a proof for another audience than any of ours, which leaves no other trace: it is
 * left to the next verifier. One line a minute, of the level `info`.
 */
export class OtherAudiences {
  readonly #message: string;
  readonly #given: Given;
  readonly #seldom: Seldom;

  /** @param what was shown, with its verb: `a token of this issuer is for other audiences` */
  constructor(what: string, given: Given) {
    this.#message = `${what}, and is left to other verifiers`;
    this.#given = given;
    this.#seldom = new Seldom(given.clock, pause);
  }

  /**
   * @param audiences whom it is for, as the client wrote it
   * @param address the client's: joins this line to that of the request
   */
  note(audiences: readonly string[], address: string): void {
    const { id, expected, log } = this.#given;
    this.#seldom.run(() =>
      log.info({ id, audiences: audiences.slice(0, maxTold).map(told), expected, address }, this.#message),
    );
  }
}

function told(audience: string): string {
  return JSON.stringify(audience.slice(0, maxLength)).slice(1, -1);
}
