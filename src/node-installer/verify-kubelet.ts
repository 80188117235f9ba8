import type { UnitState } from '../contracts/node.js';
import { describeError } from '../errors.js';
import { argumentsFilePath } from './own-files.js';
import type { KubeletProcess, NodePorts } from './ports.js';

type Ports = Pick<NodePorts, 'files' | 'systemd' | 'kubelet' | 'clock'>;

export interface ExpectedKubelet {
  /** Its unit. */
  readonly unit: string;
  /** The process before the restart; 0 where any will do. */
  readonly previousPid: number;
  readonly flag: string;
  /** Whether the flag has to be there; absent: it does not matter. */
  readonly hasFlag?: boolean;
}

/** Milliseconds that a process has to live before it counts. */
export const stableTime = 10_000;
/** Milliseconds in all. */
export const healthTimeLimit = 60_000;
const pause = 1_000;
/** systemd restarted it so often by itself since we look: it will not come. */
const mostRestarts = 3;

/**
 * Waits until kubelet is healthy: a new main process that lives for 10 s, with our flag or without it, and `/healthz`
 * says ok. A kubelet that keeps crashing, or has the wrong arguments, is not waited for.
 *
 * @returns what is wrong with it, in one line; undefined where it is healthy
 */
export async function verifyKubelet(ports: Ports, expected: ExpectedKubelet): Promise<string | undefined> {
  const end = ports.clock.now() + healthTimeLimit;
  const watch = new Watch(expected);
  // Counted too: somebody may set the clock back meanwhile.
  for (let turn = 0; turn * pause <= healthTimeLimit; turn++) {
    const verdict = await watch.look(ports);
    if (verdict !== 'waiting') return verdict.problem;
    if (ports.clock.now() + pause > end) break;
    await ports.clock.sleep(pause);
  }
  return `${watch.problem} after ${healthTimeLimit / 1000} s`;
}

class Watch {
  problem = 'nothing is known of kubelet';
  readonly #expected: ExpectedKubelet;
  #pid = 0;
  #since = 0;
  #restarts: number | undefined;

  constructor(expected: ExpectedKubelet) {
    this.#expected = expected;
  }

  async look(ports: Ports): Promise<'waiting' | { readonly problem: string | undefined }> {
    try {
      return await this.#look(ports);
    } catch (error) {
      this.problem = describeError(error);
      return 'waiting';
    }
  }

  async #look(ports: Ports): Promise<'waiting' | { readonly problem: string | undefined }> {
    const { unit, flag, hasFlag, previousPid } = this.#expected;
    const state = await ports.systemd.unit(unit);
    this.#restarts ??= state.restarts;
    if (state.activeState === 'failed') {
      return { problem: `${unit} has failed: ${state.result}, exit status ${state.mainStatus}` };
    }
    if (state.restarts - this.#restarts >= mostRestarts) {
      return { problem: `${unit} ends again and again: ${state.result}, exit status ${state.mainStatus}` };
    }
    const process = await ports.kubelet.look(unit);
    if (process === undefined || process.pid === previousPid || state.activeState !== 'active') {
      return this.#wait(`${unit} is ${state.activeState}, and no new kubelet runs`);
    }
    if (process.pid !== this.#pid) {
      this.#pid = process.pid;
      this.#since = ports.clock.now();
    }
    if (ports.clock.now() - this.#since < stableTime) return this.#wait('kubelet did not live for 10 s');
    // One that is new has not read a file that its unit does not name any more, though it may still lie there.
    const mayHave = hasArgument(process.arguments, flag) || namesArguments(state);
    const has = mayHave && (await runsWithFlag(ports, unit, process, flag));
    if (hasFlag !== undefined && has !== hasFlag) {
      return { problem: hasFlag ? `kubelet runs without ${flag}` : `kubelet still runs with ${flag}` };
    }
    const sick = await ports.kubelet.healthz();
    return sick === undefined ? { problem: undefined } : this.#wait(`kubelet's /healthz: ${sick}`);
  }

  #wait(problem: string): 'waiting' {
    this.problem = problem;
    return 'waiting';
  }
}

/** @returns whether a start of the unit, as systemd has loaded it, reads our file of arguments */
export function namesArguments({ environmentFiles }: UnitState): boolean {
  return environmentFiles.some((file) => file.replace(/^-/, '') === argumentsFilePath);
}

/**
 * k3s and RKE2 overwrite their command line with a title. What they were started with is in the file of arguments then,
 * for systemd takes it away with each process it was made for.
 */
export async function runsWithFlag(
  { files }: Pick<NodePorts, 'files'>,
  unit: string,
  process: KubeletProcess,
  flag: string,
): Promise<boolean> {
  if (hasArgument(process.arguments, flag)) return true;
  if (unit === 'kubelet.service') return false;
  const written = await files.read(argumentsFilePath);
  return written?.split(/[\s"'=]+(?=--)|["'\s]+/).includes(flag) ?? false;
}

/** `--name=value`, or the two as words of their own. The last one counts for kubelet. */
function hasArgument(words: readonly string[], flag: string): boolean {
  const name = flag.slice(0, flag.indexOf('='));
  const last = words.findLastIndex((word) => word === name || word.startsWith(`${name}=`));
  const word = words[last];
  return word === name ? `${name}=${words[last + 1]}` === flag : word === flag;
}
