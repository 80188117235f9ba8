import type { ReceivedMessage } from './dbus-message.js';

/** Results that are kept for calls whose answer names the job only after it has ended. */
const mostKept = 256;

interface WaitingJob {
  resolve(result: string): void;
  reject(error: Error): void;
}

/** Jobs of systemd and how they ended (org.freedesktop.systemd1(5), JobRemoved). */
export class Jobs {
  readonly #results = new Map<string, string>();
  readonly #waiting = new Map<string, WaitingJob>();

  /** Takes a signal; those that are not about jobs are nothing to it. */
  take({ interface: of, member, body }: ReceivedMessage): void {
    if (of !== 'org.freedesktop.systemd1.Manager' || member !== 'JobRemoved') return;
    const [, path, , result] = body.map(String);
    if (path === undefined || result === undefined) return;
    const waiting = this.#waiting.get(path);
    if (waiting) {
      waiting.resolve(result);
      return;
    }
    // Any unit's jobs come by, and a job that nobody has asked for yet may be the one of a call under way.
    this.#results.set(path, result);
    const oldest = this.#results.keys().next();
    if (this.#results.size > mostKept && !oldest.done) this.#results.delete(oldest.value);
  }

  /**
   * @param timeout milliseconds
   * @returns `done`, `canceled`, `timeout`, `failed`, `dependency`, `skipped`, …. @throws an Error of one line
   */
  result(path: string, timeout: number): Promise<string> {
    const known = this.#results.get(path);
    this.#results.delete(path);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      const ended = () => {
        clearTimeout(timer);
        this.#waiting.delete(path);
      };
      const timer = setTimeout(() => {
        ended();
        reject(new Error(`it did not end within ${timeout / 1000} s`));
      }, timeout);
      this.#waiting.set(path, {
        resolve: (result) => {
          ended();
          resolve(result);
        },
        reject: (error) => {
          ended();
          reject(error);
        },
      });
    });
  }

  /** The connection is gone: nobody will say how they ended. */
  lose(reason: Error): void {
    for (const { reject } of [...this.#waiting.values()]) reject(reason);
    this.#results.clear();
  }
}
