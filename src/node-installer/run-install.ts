import { describeError } from '../errors.js';
import { stopIfThere } from './active-unit.js';
import { isTooSoon, readGuardState } from './guard.js';
import type { Wanted } from './journal.js';
import { hashOf } from './journal.js';
import { isHeld, kubeletStartsFile } from './kubelet-starts.js';
import { endpointOf, flagOf } from './names.js';
import type { Change, Desired, ObservedNode, Plan } from './node.js';
import { blockOf } from './own-block.js';
import { executableName, ownPaths, unitNames } from './own-files.js';
import type { Outcome } from './result.js';
import { arm, disarm } from './rollback-timer.js';
import { type OpenRun, recordAfter } from './run-files.js';
import { putBack } from './run-repair.js';
import type { Session } from './session.js';
import { runsWithFlag, verifyKubelet } from './verify-kubelet.js';
import { orderCycle } from './verify-order.js';
import { verifyUnit } from './verify-unit.js';
import type { WrittenRecord } from './written-record.js';

/** Milliseconds that the endpoint has to answer in. */
const endpointTime = 30_000;
const firstPause = 5 * 60_000;
const longestPause = 60 * 60_000;

interface Target {
  readonly wanted: Wanted;
  readonly plan: Plan;
  readonly observed: ObservedNode;
  readonly kubelet: NonNullable<ObservedNode['kubelet']>;
  readonly paths: ReturnType<typeof ownPaths>;
}

/** One complete run. @throws where nothing was begun */
export async function runInstall(
  session: Session,
  desired: Desired,
  { id, isPatient }: { readonly id: string; readonly isPatient: boolean },
): Promise<Outcome> {
  const target = await look(session, desired);
  if ('verdict' in target) return target;
  const { wanted, plan } = target;
  const planHash = hashOf(JSON.stringify([desired.version, plan.changes.map(changeKey)]));
  const tooSoon = isPatient ? whyTooSoon(session, planHash) : undefined;
  if (tooSoon !== undefined) return session.outcome('failed', [tooSoon]);
  const work = new InstallRun(session, target);
  const isAsPlanned = plan.changes.length === 0;
  if (isAsPlanned && (await work.isRunning())) return work.keepUp();
  // What kubelet could not live with may be mended now; this run takes it back if not.
  if (!isPatient) await session.ports.files.remove(kubeletStartsFile).catch(() => undefined);
  const later = isPatient ? await whyLater(session, target) : undefined;
  if (later !== undefined) {
    if (isAsPlanned) await work.keepServices();
    return session.outcome('failed', [later]);
  }
  const run: OpenRun = {
    ...{ kind: 'install', id, wanted, phase: 'service', previousPid: 0, isRestarted: false },
    ...{ steps: [], planHash },
  };
  try {
    await work.go(run);
  } catch (error) {
    return putBack(session, run, error);
  }
  await session.runFiles.removeBackups();
  return session.outcome('installed');
}

/** @returns what to do, or the outcome where that is nothing */
async function look(session: Session, desired: Desired): Promise<Target | Outcome> {
  const { files, planning, stateDirectory } = session.ports;
  const { record } = await session.load();
  const also = desired.directory === undefined ? [] : [`${desired.directory}/${executableName}`];
  const snapshot = await planning.readNode(files, [...Object.keys(record), ...also]);
  const observed = planning.observe(snapshot, desired);
  const plan = planning.planInstall(desired, observed, record);
  const { kubelet, executableDirectory } = observed;
  session.kept = plan.kept;
  if (plan.verdict === 'refused' || kubelet === undefined) return session.outcome('refused', plan.reasons);
  const { mode, socket, directory, version } = desired;
  const { unit } = kubelet;
  const wanted = { mode, socket, unit, version, ...(directory !== undefined && { directory }) };
  const paths = ownPaths({ unit, executableDirectory, stateDirectory });
  return { wanted, plan, observed, kubelet, paths };
}

const changeKey = ({ path, after }: Change) => [
  path,
  after && (typeof after.content === 'string' ? hashOf(after.content) : after.content.hash),
];

function whyTooSoon({ journal: { failures }, ports }: Session, planHash: string): string | undefined {
  if (failures === undefined || failures.plan !== planHash) return undefined;
  const wait = Math.min(firstPause * 2 ** (failures.count - 1), longestPause);
  const since = ports.clock.now() - failures.at;
  if (since < 0 || since >= wait) return undefined;
  return `it is tried again ${Math.ceil((wait - since) / 60_000)} min from now; the last time: ${failures.why}`;
}

/** Each restart that brings nothing, or nothing that lasts, is one too many. */
async function whyLater({ ports }: Session, { plan, wanted }: Target): Promise<string | undefined> {
  if (await isHeld(ports)) {
    return 'kubelet was started with it again and again, and did not stay: for half an hour it starts without it';
  }
  if (plan.changes.length > 0 || wanted.mode === 'credential-provider') return undefined;
  const guard = await readGuardState(ports);
  if (guard?.last !== 'dropped' || !isTooSoon(guard, ports.clock.now())) return undefined;
  return 'kubelet runs without it, for the endpoint did not answer: the guard brings it back, later each time';
}

class InstallRun {
  readonly #session: Session;
  readonly #target: Target;
  readonly #flag: string;

  constructor(session: Session, target: Target) {
    this.#session = session;
    this.#target = target;
    this.#flag = flagOf(target.wanted);
  }

  async isRunning(): Promise<boolean> {
    const { unit } = this.#target.wanted;
    const process = await this.#session.ports.kubelet.look(unit);
    return process !== undefined && (await runsWithFlag(this.#session.ports, unit, process, this.#flag));
  }

  /** Starts what should run, and restarts nothing. @throws where the image service does not work */
  keepServices(): Promise<void> {
    return this.#startServices([]);
  }

  /** Nothing has to change. */
  async keepUp(): Promise<Outcome> {
    const session = this.#session;
    await this.keepServices();
    const record = this.#adopted(session.journal.record);
    const isKnown = Object.keys(record).length === Object.keys(session.journal.record).length;
    if (!isKnown || session.journal.installed === undefined || session.journal.failures !== undefined) {
      await session.save({ record, installed: this.#target.wanted });
    }
    return session.outcome('nothing to do');
  }

  async go(run: OpenRun): Promise<void> {
    const session = this.#session;
    const { plan, wanted } = this.#target;
    await this.#begin(run);
    // What an earlier mode needs goes when kubelet does not use it any more.
    const removals = plan.changes.filter(({ stage, after }) => stage === 'service' && after === undefined);
    const services = plan.changes.filter(
      (change) => change.stage === 'service' && !removals.includes(change),
    );
    await this.#changeAll(services, run);
    if (wanted.mode === 'host') await this.#refuseCycle();
    await this.#startServices(services.map(({ path }) => path));
    await this.#kubeletStage(run);
    for (const { path } of removals) await this.#stopUnitOf(path);
    await this.#changeAll(removals, run);
    await session.save({ record: recordAfter(session.journal.record, run.steps), installed: wanted });
  }

  async #begin(run: OpenRun): Promise<void> {
    const session = this.#session;
    const { installed, record, failures } = session.journal;
    const state = await session.ports.systemd.unit(run.wanted.unit);
    if (state.activeState !== 'active') {
      throw new Error(`${run.wanted.unit} is ${state.activeState}: expected a kubelet that runs`);
    }
    const sick = record[this.#target.paths.dropIn] ? undefined : await session.ports.kubelet.healthz();
    if (sick !== undefined) throw new Error(`kubelet is not healthy before anything was changed: ${sick}`);
    await session.save({ record: this.#adopted(record), installed, failures, run });
    session.unit = run.wanted.unit;
  }

  /** Files that are as they should be already, such as an executable that was copied here before this run. */
  #adopted(record: WrittenRecord): WrittenRecord {
    const { plan, observed } = this.#target;
    const others = new Set([...plan.changes.map(({ path }) => path), ...plan.kept]);
    const found = [...observed.own].filter(([path]) => !others.has(path) && record[path] === undefined);
    const adopted = found.map(([path, file]) => [path, writtenAs(file)] as const);
    return { ...record, ...Object.fromEntries(adopted) };
  }

  async #changeAll(changes: readonly Change[], run: OpenRun): Promise<void> {
    const session = this.#session;
    for (const change of changes) {
      await session.runFiles.change(change, run, session.journal);
      session.tell(`${change.after === undefined ? 'removed' : 'wrote'} ${change.path}`);
    }
    if (changes.length > 0) await session.ports.systemd.reload();
  }

  /** @param changed paths */
  async #startServices(changed: readonly string[]): Promise<void> {
    const { wanted, paths } = this.#target;
    if (wanted.mode === 'credential-provider') return;
    const guard = [paths.guardService, paths.guardTimer, paths.lostService];
    const isServiceChanged = changed.some((path) => !guard.includes(path));
    if (wanted.mode === 'host') await this.#run(unitNames.service, isServiceChanged);
    await this.#testEndpoint();
    await this.#run(
      unitNames.guardTimer,
      changed.some((path) => guard.includes(path)),
    );
  }

  async #run(unit: string, isChanged: boolean): Promise<void> {
    const { systemd } = this.#session.ports;
    const { activeState } = await systemd.unit(unit);
    if (activeState === 'active' && !isChanged) return;
    this.#session.tell(`${activeState === 'active' ? 'restarting' : 'starting'} ${unit}`);
    await systemd.restart(unit);
  }

  /** Kubelet waits for the service, which waits for the runtime. */
  async #refuseCycle(): Promise<void> {
    const { systemd } = this.#session.ports;
    const cycle = await orderCycle(systemd, unitNames.service, this.#target.wanted.unit);
    if (cycle === undefined) return;
    throw new Error(`kubelet would have to start before itself: ${cycle.join(' after ')} after ${cycle[0]}`);
  }

  async #testEndpoint(): Promise<void> {
    const { endpoint } = this.#session.ports;
    const own = endpointOf(this.#target.wanted.socket);
    const problem =
      (await endpoint.answers(own, endpointTime)) ??
      (await endpoint.compare(own, this.#target.kubelet.runtimeEndpoint));
    if (problem !== undefined) throw new Error(`the image service does not work: ${problem}`);
  }

  async #kubeletStage(run: OpenRun): Promise<void> {
    const session = this.#session;
    const { plan, kubelet, paths, wanted } = this.#target;
    const { systemd } = session.ports;
    const changes = plan.changes.filter(({ stage }) => stage === 'kubelet');
    if (changes.length === 0 && !this.#isForNextStart() && (await this.isRunning())) return;
    // What others have changed and not yet reloaded must not look like our doing.
    if ((await systemd.unit(wanted.unit)).needsReload) await systemd.reload();
    const before = await systemd.unit(wanted.unit);
    run.phase = 'kubelet';
    await this.#changeAll(changes, run);
    const { argumentsPath } = kubelet;
    const expected = { dropIn: paths.dropIn, executable: paths.executable, argumentsPath };
    const problems = verifyUnit(before, await systemd.unit(wanted.unit), expected);
    if (problems.length > 0) throw new Error(problems.join('; '));
    await this.#restartKubelet(run);
  }

  /** Kubelet starts the provider with what was merged at its own start: a changed configuration counts, and fails, then. */
  #isForNextStart(): boolean {
    const { plan, wanted, paths } = this.#target;
    const isConfiguration = (path: string) => path.startsWith(`${paths.configDirectory}/`);
    return wanted.mode === 'credential-provider' && plan.changes.some(({ path }) => isConfiguration(path));
  }

  async #restartKubelet(run: OpenRun): Promise<void> {
    const session = this.#session;
    const { ports } = session;
    const { unit } = run.wanted;
    run.previousPid = (await ports.kubelet.look(unit))?.pid ?? 0;
    run.phase = 'restart';
    run.isRestarted = true;
    await session.save({ ...session.journal, run });
    await arm(ports, { executable: this.#target.paths.executable, unit });
    // The time a job takes says nothing of kubelet; its health does.
    const failure = await session.restartKubelet(unit).then(() => undefined, describeError);
    const { previousPid } = run;
    const problem = await verifyKubelet(ports, { unit, previousPid, flag: this.#flag, hasFlag: true });
    if (problem !== undefined) throw new Error([failure, problem].filter(Boolean).join('; '));
    await disarm(session);
    session.tell('kubelet is healthy with it');
  }

  async #stopUnitOf(path: string): Promise<void> {
    const unit = Object.values(unitNames).find((name) => path.endsWith(`/${name}`));
    if (unit !== undefined) await stopIfThere(this.#session.ports.systemd, unit);
  }
}

function writtenAs({ text, hash }: { readonly text?: string; readonly hash: string }): WrittenRecord[string] {
  const block = text === undefined ? undefined : blockOf(text);
  return { hash, ...(block !== undefined && { block }) };
}
