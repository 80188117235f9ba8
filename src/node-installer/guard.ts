import { z } from 'zod';
import { describeError } from '../errors.js';
import { ensureActive } from './active-unit.js';
import { cutOut, isOutdated } from './cut-out.js';
import { isHeld } from './kubelet-starts.js';
import { endpointOf, flagOf, guardStateFile, installUnit, rollbackUnit } from './names.js';
import { dropInPath } from './own-files.js';
import { usualPlanning } from './planning.js';
import type { NodePorts } from './ports.js';
import { runsWithFlag } from './verify-kubelet.js';

export interface GuardOptions {
  /** That kubelet runs in: `kubelet.service`, `k3s.service`, … */
  readonly unit: string;
  /** `unix:///path` */
  readonly endpoint: string;
}

/**
 * `dropped`: kubelet was restarted, and starts without our endpoint; `restored`: with it again; `freed`: it could not
 * start with our drop-in, which is gone.
 */
export type GuardVerdict = 'fine' | 'dropped' | 'restored' | 'freed' | 'waiting';

const minute = 60_000;
/** Milliseconds that an endpoint fails, or answers, before kubelet is restarted. */
const window = 30_000;
const pause = 3_000;
/** Milliseconds for one question: kubelet's own client waits 5 s. */
const answerTime = 5_000;
const firstDelay = 5 * minute;
const longestDelay = 60 * minute;
/** Milliseconds without a restart after which earlier ones count no more. */
const calmTime = 120 * minute;

const stateShape = z.strictObject({
  restarts: z.number().int().min(0),
  at: z.number(),
  last: z.enum(['dropped', 'restored']),
});
/** What was done last, and how often in a row; `at`: milliseconds since the epoch. For `status`, too. */
export type GuardState = z.output<typeof stateShape>;

/**
 * One look at kubelet and its endpoint, every 30 s: a kubelet whose endpoint is dead is restarted, and starts without
 * it; one that runs without is restarted when the endpoint is well again, ever more seldom where that does not last.
 *
 * @throws an Error of one line where systemd cannot be asked; nothing was done then, or kubelet is started all the same
 */
export async function runGuard(ports: NodePorts, options: GuardOptions): Promise<GuardVerdict> {
  if (await isBusy(ports)) return 'waiting';
  const process = await ports.kubelet.look(options.unit);
  const { activeState, subState } = await ports.systemd.unit(options.unit);
  if (activeState === 'failed' || subState === 'auto-restart') return free(ports, options);
  if (process === undefined) return 'waiting';
  const flag = flagOf({ mode: 'host', socket: options.endpoint });
  const isOurs = await runsWithFlag(ports, options.unit, process, flag);
  // A start that waits for our endpoint for ever does not end by itself.
  if (isOurs && ['active', 'activating'].includes(activeState)) return drop(ports, options, process.pid);
  // One that is stopped, or that systemd is just starting, is somebody else's matter.
  return activeState === 'active' ? restore(ports, options, process.pid) : 'waiting';
}

/** Of a runtime that nobody names, nothing is known. */
async function isRuntimeDown({ files, endpoint }: NodePorts): Promise<boolean> {
  const { kubelet } = usualPlanning.observe(await usualPlanning.readNode(files, []));
  if (kubelet?.runtimeEndpoint === undefined) return false;
  const answer = await endpoint.answers(endpointOf(kubelet.runtimeEndpoint), answerTime).catch(describeError);
  return answer !== undefined;
}

/** A kubelet that does not start: for our drop-in has a command that the platform has changed since, it may be. */
async function free(ports: NodePorts, { unit }: GuardOptions): Promise<GuardVerdict> {
  if (!(await isOutdated(ports, unit))) return 'waiting';
  ports.log.warn(
    { unit },
    'kubelet does not start, and its unit has another command than our drop-in repeats: ours is taken out',
  );
  await cutOut(ports, unit);
  return 'freed';
}

async function drop(ports: NodePorts, options: GuardOptions, pid: number): Promise<GuardVerdict> {
  const why = await unchanged(ports, options, (answer) => answer !== undefined);
  if (why === undefined) return 'fine';
  // Without its runtime kubelet would not even start.
  if (await isRuntimeDown(ports)) return 'waiting';
  ports.log.warn(
    { unit: options.unit, reason: why.answer },
    'the endpoint is dead: kubelet is restarted without it',
  );
  return restart(ports, options, pid, 'dropped');
}

async function restore(ports: NodePorts, options: GuardOptions, pid: number): Promise<GuardVerdict> {
  const { dropInPaths } = await ports.systemd.unit(options.unit);
  // Without our drop-in, or while starts with it are held, a restart would bring nothing.
  if (!dropInPaths.includes(dropInPath(options.unit)) || (await isHeld(ports))) return 'waiting';
  const state = await readGuardState(ports);
  if (state !== undefined && isTooSoon(state, ports.clock.now())) return 'waiting';
  if ((await unchanged(ports, options, (answer) => answer === undefined)) === undefined) return 'waiting';
  ports.log.info({ unit: options.unit }, 'the endpoint answers again: kubelet is restarted with it');
  return restart(ports, options, pid, 'restored');
}

/** A clock that was set back makes nobody wait longer than it would have been. */
export function isTooSoon({ restarts, at }: GuardState, now: number): boolean {
  const delay = Math.min(firstDelay * 2 ** Math.max(restarts - 1, 0), longestDelay);
  return now >= at && now - at < delay;
}

/** @returns the last answer where all of them for 30 s were of that kind, or undefined */
async function unchanged(
  { endpoint, clock }: NodePorts,
  options: GuardOptions,
  isOfThatKind: (answer: string | undefined) => boolean,
): Promise<{ readonly answer: string | undefined } | undefined> {
  const start = clock.now();
  for (let turn = 0; ; turn++) {
    const answer = await endpoint.answers(endpointOf(options.endpoint), answerTime).catch(describeError);
    if (!isOfThatKind(answer)) return undefined;
    if (clock.now() - start >= window || turn * pause >= window) return { answer };
    await clock.sleep(pause);
  }
}

/** The state is written first: a guard that cannot remember a restart would do it again and again. */
async function restart(
  ports: NodePorts,
  { unit }: GuardOptions,
  pid: number,
  last: 'dropped' | 'restored',
): Promise<GuardVerdict> {
  // Half a minute has passed.
  if ((await isBusy(ports)) || (await ports.kubelet.look(unit))?.pid !== pid) return 'waiting';
  const now = ports.clock.now();
  const before = await readGuardState(ports);
  const isRow = before !== undefined && now - before.at < calmTime;
  const restarts =
    (isRow ? before.restarts : 0) + (last === 'dropped' || before?.last === 'restored' ? 1 : 0);
  const state: GuardState = { restarts, at: now, last };
  const write = ports.files.write(guardStateFile, `${JSON.stringify(state)}\n`, 0o600);
  if (last === 'restored') await write;
  // A full /run is no reason to leave kubelet with a dead endpoint.
  else
    await write.catch((error) =>
      ports.log.warn({ reason: describeError(error) }, 'the guard cannot remember'),
    );
  try {
    await ports.systemd.restart(unit);
  } finally {
    const problem = await ensureActive(ports, unit);
    if (problem !== undefined) ports.log.error({ unit, reason: problem }, 'kubelet could not be started');
  }
  return last;
}

async function isBusy({ systemd }: NodePorts): Promise<boolean> {
  for (const name of [installUnit, rollbackUnit]) {
    const { activeState } = await systemd.unit(name);
    if (activeState !== 'inactive' && activeState !== 'failed') return true;
  }
  return false;
}

/** @returns undefined where the guard has done nothing since the node started */
export async function readGuardState({ files }: Pick<NodePorts, 'files'>): Promise<GuardState | undefined> {
  try {
    return stateShape.parse(JSON.parse((await files.read(guardStateFile)) ?? ''));
  } catch {
    return undefined;
  }
}
