import { exitCodes, fail } from './exit.js';

/** Milliseconds: npm and process groups deliver one signal twice. */
const sameSignal = 1000;

/** Keeps SIGHUPs until somebody listens: one during the start asks for what the start does anyway, but maybe later. */
export class HangUps {
  #isWaiting = false;
  #onHangUp = () => {
    this.#isWaiting = true;
  };

  constructor() {
    process.on('SIGHUP', () => this.#onHangUp());
  }

  listen(onHangUp: () => void): void {
    this.#onHangUp = onHangUp;
    if (this.#isWaiting) onHangUp();
  }
}

/**
 * SIGTERM and SIGINT. The first one asks to stop, one that comes later than its echo ends the process at once.
 *
 * @returns aborted by the first, with its name as the reason
 */
export function stopSignal(): AbortSignal {
  const asked = new AbortController();
  let askedAt = 0;
  const onSignal = (signal: string) => {
    if (!asked.signal.aborted) {
      askedAt = Date.now();
      asked.abort(signal);
    } else if (Date.now() - askedAt > sameSignal) {
      fail(`${signal} again: ended at once, without waiting for what is under way`, exitCodes.failed);
    }
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return asked.signal;
}

/** Drains when it is asked to, and ends the process. */
export function stopWhenAsked(
  served: { stop(): Promise<void> },
  asked: AbortSignal,
  onStop: (signal: string) => void,
  afterwards: () => Promise<void>,
): void {
  const stop = () => {
    onStop(String(asked.reason));
    served
      .stop()
      .then(afterwards)
      .then(
        () => process.exit(exitCodes.fine),
        () => process.exit(exitCodes.failed),
      );
  };
  if (asked.aborted) stop();
  else asked.addEventListener('abort', stop, { once: true });
}
