import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Asks again until the answer is true. A rejection counts as false.
 *
 * @param timeout milliseconds
 * @returns false where it did not become true in time
 */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  timeout: number,
): Promise<boolean> {
  const end = Date.now() + timeout;
  for (;;) {
    if (
      await Promise.resolve()
        .then(condition)
        .catch(() => false)
    )
      return true;
    if (Date.now() >= end) return false;
    await sleep(50);
  }
}
