import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import type { Systemd } from '../../contracts/node.js';
import { describeError, hasCode } from '../../errors.js';
import type { KubeletHealth, KubeletProcess } from '../../node-installer/ports.js';

/** Kubelet's default; k3s and RKE2 have it too. */
const usualPort = 10_248;
/** Milliseconds. */
const healthTime = 5_000;

/** The kubelet of this machine, by systemd, `/proc` and its own health page. */
export class LocalKubelet implements KubeletHealth {
  readonly #systemd: Pick<Systemd, 'unit'>;
  readonly #port: number;

  constructor(systemd: Pick<Systemd, 'unit'>, port = usualPort) {
    this.#systemd = systemd;
    this.#port = port;
  }

  async look(unit: string): Promise<KubeletProcess | undefined> {
    const { mainPid: pid } = await this.#systemd.unit(unit);
    if (pid === 0) return undefined;
    try {
      const text = await readFile(`/proc/${pid}/cmdline`, 'utf8');
      return { pid, arguments: text.replace(/\0+$/, '').split('\0') };
    } catch (error) {
      // It has just ended.
      if (hasCode(error, 'ENOENT') || hasCode(error, 'ESRCH')) return undefined;
      throw new Error(`/proc/${pid}/cmdline cannot be read: ${describeError(error)}`);
    }
  }

  healthz(): Promise<string | undefined> {
    const place = `http://127.0.0.1:${this.#port}/healthz`;
    const signal = AbortSignal.timeout(healthTime);
    return new Promise((resolve) => {
      const asked = request(place, { signal, agent: false }, (response) => {
        const { statusCode } = response;
        response.destroy();
        resolve(statusCode === 200 ? undefined : `${place} answers HTTP ${statusCode}`);
      });
      asked.on('error', (error) => {
        const why = signal.aborted ? `no answer within ${healthTime / 1000} s` : describeError(error);
        resolve(`${place}: ${why}`);
      });
      asked.end();
    });
  }
}
