import { createHash } from 'node:crypto';
import {
  type FileContent,
  type NodeFileStat,
  type NodeFiles,
  type Systemd,
  type TransientService,
  UnitExistsError,
  type UnitState,
} from '../contracts/node.js';
import { expand, type ReadUnit, readEnvironment, readUnit } from './fake-units.js';

/** What goes wrong with one process that works on the node: at the n-th call of its ports, counted from 1. */
export interface ProcessFaults {
  /** It is killed when the call is done: nothing it waits for ever ends. */
  readonly dieAfter?: number;
  /** The call rejects: `before` it does anything, or `after` it has done all. */
  readonly throwAt?: { readonly call: number; readonly when: 'before' | 'after' };
  /** The process stops for so many milliseconds before the n-th call of this name: `systemd.restart`, … */
  readonly hang?: { readonly call: string; readonly nth?: number; readonly time: number };
  /** Somebody else acts before the n-th call of this name. */
  readonly meanwhile?: { readonly call: string; readonly nth?: number; readonly act: () => void };
  readonly isDiskFull?: boolean;
  /** A restart only stops the unit. */
  readonly isRestartCutOff?: boolean;
}

const argumentsDirectory = '/run/kubelet-image-service-arguments/';
const runtimeDirectory = 'kubelet-image-service-arguments';
const startsFile = '/run/kubelet-image-service-starts/starts.json';
const ownService = 'kubelet-image-service.service';

/**
 * A node in memory: files, and a systemd with a kubelet whose command line comes about as on a real one: units are read
 * at a reload, ExecStartPre makes the file of arguments, and ExecStart is expanded with it.
 */
export class FakeNode {
  readonly files = new Map<string, { text: string; mode: number }>();
  /** Of installers: not on the node. */
  readonly surroundings = new Map<string, string>();
  readonly active = new Set<string>();
  readonly transients = new Map<string, TransientService & { readonly due: number }>();
  now = Date.parse('2026-01-01T00:00:00Z');
  kubelet = { activeState: 'inactive', pid: 0, restarts: 0, argv: [] as readonly string[] };
  /** How often kubelet was started. */
  starts = 0;
  /** In pod mode. */
  isPodServing = false;
  isServiceBroken = false;
  isRuntimeDown = false;
  /** That its kubelet runs in: kubelet.service, or that of a k3s, which hides its arguments behind a title. */
  readonly kubeletUnit: string;
  /** What kubelet does when it is started with these arguments. */
  behaviour: (argv: readonly string[]) => 'healthy' | 'crashes' | 'sick' = () => 'healthy';
  /** How `kubelet-arguments` counts a start with our arguments, and whether it gives none. */
  onStart = (text: string | undefined, _now: number) => ({ text: text ?? '', isHeld: false });
  /** What the rollback's timer runs. */
  onRollback: (command: readonly string[]) => Promise<unknown> = async () => undefined;
  #units = new Map<string, ReadUnit>();
  #isSick = false;
  #nextPid = 5000;

  /** @param tree texts by path; what is no text is left out */
  constructor(tree: Readonly<Record<string, unknown>>) {
    for (const [path, text] of Object.entries(tree)) {
      if (typeof text === 'string' && !/^\/proc\/(?!1\/)\d+\//.test(path))
        this.files.set(path, { text, mode: 0o644 });
    }
    const isThere = (unit: string) => readUnit(this.files, unit) !== undefined;
    this.kubeletUnit = ['k3s.service', 'k3s-agent.service'].find(isThere) ?? 'kubelet.service';
    this.reload();
    this.startKubelet();
  }

  /** All that stays over a reboot. */
  disk(): Readonly<Record<string, string>> {
    const kept = [...this.files].filter(([path]) => !/^\/(?:run|proc)\//.test(path));
    return Object.fromEntries(
      kept.map(([path, { text, mode }]) => [path, `${mode.toString(8)} ${text}`]).sort(),
    );
  }

  /** @param isLost of paths that do not outlive it */
  reboot(isLost: (path: string) => boolean = () => false): void {
    for (const path of this.files.keys()) {
      if (/^\/(?:run|proc)\//.test(path) || isLost(path)) this.files.delete(path);
    }
    this.active.clear();
    this.transients.clear();
    this.reload();
    if (this.#units.has(ownService)) this.startUnit(ownService);
    this.startKubelet();
  }

  reload(): void {
    const names = [...this.files.keys()].map((path) => path.split('/').at(-1) ?? '');
    this.#units = new Map();
    for (const name of names.filter((one) => /\.(?:service|timer)$/.test(one))) {
      const unit = readUnit(this.files, name);
      if (unit !== undefined) this.#units.set(name, unit);
    }
  }

  /** @param endpoint ours, or the runtime's */
  isAnswering(endpoint = ownService): boolean {
    if (this.isRuntimeDown) return false;
    if (!endpoint.includes('kubelet-image-service')) return true;
    return this.isPodServing || (this.active.has(ownService) && !this.isServiceBroken);
  }

  startUnit(name: string): void {
    if (name === this.kubeletUnit) {
      this.startKubelet();
      return;
    }
    const [executable = ''] = this.#units.get(name)?.execStart ?? [];
    const isTimer = name.endsWith('.timer') && this.#units.has(name);
    if (!isTimer && !this.files.has(executable)) throw new Error(`${name}: job result: failed`);
    this.active.add(name);
  }

  startKubelet(): void {
    this.stopKubelet();
    const unit = this.#units.get(this.kubeletUnit);
    if (unit === undefined) throw new Error(`${this.kubeletUnit} is not there`);
    for (const command of unit.execStartPre) this.#prepare(command, unit);
    const argv = expand(unit.execStart, this.#environment(unit));
    const behaviour = this.behaviour(argv);
    this.starts++;
    if (behaviour === 'crashes') {
      this.kubelet = { ...this.kubelet, activeState: 'activating', pid: 0, argv: [] };
      return;
    }
    this.#isSick = behaviour === 'sick';
    this.kubelet = { activeState: 'active', pid: this.#nextPid++, restarts: this.kubelet.restarts, argv };
    const text = `${this.shown(argv).join('\0')}\0`;
    this.files.set(`/proc/${this.kubelet.pid}/cmdline`, { text, mode: 0o444 });
  }

  /** What others see of its arguments. */
  shown(argv: readonly string[]): readonly string[] {
    return this.kubeletUnit === 'kubelet.service' ? argv : [argv.slice(0, 2).join(' ')];
  }

  stopKubelet(): void {
    this.files.delete(`/proc/${this.kubelet.pid}/cmdline`);
    // RuntimeDirectory= goes with the unit's process, where the unit as it was loaded last still has it.
    const isOurs = this.#units.get(this.kubeletUnit)?.runtimeDirectories.includes(runtimeDirectory) ?? false;
    for (const path of this.files.keys()) {
      if (isOurs && path.startsWith(argumentsDirectory)) this.files.delete(path);
    }
    this.kubelet = { ...this.kubelet, activeState: 'inactive', pid: 0, argv: [] };
  }

  #environment(unit: ReadUnit): ReadonlyMap<string, string> {
    const paths = unit.environmentFiles.map((file) => file.replace(/^-/, ''));
    const texts = paths.map((path) => this.files.get(path)?.text ?? '');
    return new Map(texts.flatMap((text) => [...readEnvironment(text)]));
  }

  /** `kubelet-arguments`, where the executable is there. */
  #prepare(command: readonly string[], unit: ReadUnit): void {
    if (command[1] !== 'kubelet-arguments' || !this.files.has(command[0] ?? '')) return;
    const option = (name: string) => command[command.indexOf(`--${name}`) + 1] ?? '';
    const isProvider = option('mode') === 'credential-provider';
    const flags = isProvider
      ? `--image-credential-provider-config=${argumentsDirectory}credential-provider.yaml`
      : `--image-service-endpoint=${option('endpoint')}`;
    const variable = option('variable');
    const isGiven = (isProvider || this.isAnswering()) && !this.#isHeld();
    const present = this.#environment(unit).get(variable) ?? '';
    const text = isGiven ? `${variable}="${present} ${flags}"\n` : '';
    this.files.set(option('write'), { text, mode: 0o600 });
  }

  #isHeld(): boolean {
    const { text, isHeld } = this.onStart(this.files.get(startsFile)?.text, this.now);
    this.files.set(startsFile, { text, mode: 0o600 });
    return isHeld;
  }

  unitState(name: string): UnitState {
    const unit = this.#units.get(name);
    const isKubelet = name === this.kubeletUnit;
    const isThere = this.active.has(name) || this.transients.has(name);
    return {
      loadState: unit === undefined && !isThere ? 'not-found' : 'loaded',
      activeState: isKubelet ? this.kubelet.activeState : isThere ? 'active' : 'inactive',
      subState: isKubelet && this.#hasCrashed() ? 'auto-restart' : '',
      result: 'success',
      mainPid: isKubelet ? this.kubelet.pid : 0,
      mainStatus: 0,
      restarts: isKubelet ? this.kubelet.restarts : 0,
      fragmentPath: unit?.fragmentPath ?? '',
      dropInPaths: unit?.dropInPaths ?? [],
      needsReload: readUnit(this.files, name)?.source !== unit?.source,
      execStart: unit === undefined ? [] : [unit.execStart],
      execStartPre: unit?.execStartPre ?? [],
      environmentFiles: unit?.environmentFiles ?? [],
      after: unit?.after ?? [],
    };
  }

  /** Time goes by, and what is due is run: a kubelet that has ended is started again, once. */
  async pass(milliseconds: number): Promise<void> {
    this.now += milliseconds;
    if (this.#hasCrashed()) {
      this.kubelet.restarts++;
      this.startKubelet();
    }
    for (const [timer, { name, due, command }] of this.transients) {
      if (due > this.now) continue;
      this.transients.delete(timer);
      this.active.add(name);
      await this.onRollback(command);
      this.active.delete(name);
    }
  }

  #hasCrashed(): boolean {
    return this.kubelet.activeState === 'activating' && this.kubelet.pid === 0;
  }

  get healthz(): string | undefined {
    return this.kubelet.pid === 0 ? 'connection refused' : this.#isSick ? '500' : undefined;
  }

  /** The ports of one process. */
  process(faults: ProcessFaults = {}): FakeProcess {
    return new FakeProcess(this, faults);
  }

  newTransient(service: TransientService): void {
    const name = service.after === undefined ? service.name : service.name.replace(/service$/, 'timer');
    if (this.transients.has(name) || this.active.has(service.name))
      throw new UnitExistsError(`${name} is there`);
    this.transients.set(name, { ...service, due: this.now + (service.after ?? 0) });
  }

  stop(name: string): void {
    if (name === this.kubeletUnit) this.stopKubelet();
    this.active.delete(name);
    this.transients.delete(name);
  }
}

/** Counts the calls of its ports, and fails where it was told to. */
export class FakeProcess {
  /** So far; those of the clock do not count. */
  calls = 0;
  /** The first of them that may have changed anything; 0: none yet. */
  firstChange = 0;
  /** Resolves when it was killed. */
  readonly died: Promise<void>;
  readonly #node: FakeNode;
  readonly #faults: ProcessFaults;
  readonly #turns = new Map<object, number>();
  #die: () => void = () => {};

  constructor(node: FakeNode, faults: ProcessFaults) {
    this.#node = node;
    this.#faults = faults;
    this.died = new Promise((resolve) => {
      this.#die = resolve;
    });
  }

  readonly clock = {
    now: () => this.#node.now,
    sleep: async (milliseconds: number) => this.#node.pass(milliseconds),
  };

  readonly kubelet = {
    look: (unit: string) =>
      this.#call('kubelet.look', () => {
        const { pid, argv } = this.#node.kubelet;
        if (unit !== this.#node.kubeletUnit || pid === 0) return undefined;
        return { pid, arguments: this.#node.shown(argv) };
      }),
    healthz: () => this.#call('kubelet.healthz', () => this.#node.healthz),
  };

  readonly endpoint = {
    answers: (endpoint: string, timeout: number) =>
      this.#call('endpoint.answers', async () => {
        if (this.#node.isAnswering(endpoint)) return undefined;
        await this.#node.pass(timeout);
        return 'connection refused';
      }),
    compare: () => this.#call('endpoint.compare', (): string | undefined => undefined),
  };

  readonly files: NodeFiles = {
    read: (path) => this.#call('files.read', () => this.#node.files.get(path)?.text),
    list: (directory) => this.#call('files.list', () => namesIn(this.#node.files.keys(), directory)),
    stat: (path) => this.#call('files.stat', () => this.#stat(path)),
    hash: (path) => this.#call('files.hash', () => hashOf(this.#node.files.get(path)?.text)),
    write: (path, content, mode) => this.#call('files.write', () => this.#write(path, content, mode)),
    remove: (path) => this.#call('files.remove', () => void this.#node.files.delete(path)),
  };

  readonly systemd: Systemd = {
    unit: (name) => this.#call('systemd.unit', () => this.#node.unitState(name)),
    reload: () => this.#call('systemd.reload', () => this.#node.reload()),
    start: (name) => this.#call('systemd.start', () => this.#node.startUnit(name)),
    stop: (name) => this.#call('systemd.stop', () => this.#node.stop(name)),
    restart: (name) => this.#call(`systemd.restart ${name}`, () => this.#restart(name)),
    startTransient: (service) => this.#call('systemd.startTransient', () => this.#node.newTransient(service)),
    resetFailed: () => this.#call('systemd.resetFailed', () => undefined),
    close: async () => undefined,
  };

  #restart(name: string): void {
    this.#node.stop(name);
    if (this.#faults.isRestartCutOff) throw new Error(`${name}: no answer in 20 s`);
    this.#node.startUnit(name);
  }

  #stat(path: string): NodeFileStat | undefined {
    const file = this.#node.files.get(path);
    if (file !== undefined)
      return { kind: 'file', size: file.text.length, mode: file.mode, owner: 0, realPath: path };
    const isDirectory = namesIn(this.#node.files.keys(), path).length > 0;
    return isDirectory ? { kind: 'directory', size: 0, mode: 0o755, owner: 0, realPath: path } : undefined;
  }

  #write(path: string, content: FileContent, mode: number): void {
    if (this.#faults.isDiskFull) throw new Error('ENOSPC: no space left on device');
    const source = (from: string) => this.#node.surroundings.get(from) ?? this.#node.files.get(from)?.text;
    const text = typeof content === 'string' ? content : source(content.copyOf);
    if (text === undefined) throw new Error('ENOENT: no such file');
    this.#node.files.set(path, { text, mode });
  }

  async #call<T>(name: string, act: () => T | Promise<T>): Promise<T> {
    const call = ++this.calls;
    if (!/^(?:files\.(?!write|remove)|systemd\.unit|kubelet|endpoint)/.test(name)) this.firstChange ||= call;
    const { dieAfter, throwAt, hang, meanwhile } = this.#faults;
    if (dieAfter !== undefined && call > dieAfter) return new Promise(() => {});
    if (hang !== undefined && this.#isTurn(name, hang)) await this.#node.pass(hang.time);
    if (meanwhile !== undefined && this.#isTurn(name, meanwhile)) meanwhile.act();
    if (throwAt?.call === call && throwAt.when === 'before') throw new Error(`fault before ${name}`);
    const result = await act();
    if (throwAt?.call === call) throw new Error(`fault after ${name}`);
    if (dieAfter === call) {
      this.#die();
      return new Promise(() => {});
    }
    return result;
  }

  #isTurn(name: string, of: { readonly call: string; readonly nth?: number }): boolean {
    if (!name.startsWith(of.call)) return false;
    const turn = (this.#turns.get(of) ?? 0) + 1;
    this.#turns.set(of, turn);
    return turn === (of.nth ?? 1);
  }
}

function namesIn(paths: Iterable<string>, directory: string): readonly string[] {
  const inside = [...paths].filter((path) => path.startsWith(`${directory}/`));
  return [...new Set(inside.map((path) => path.slice(directory.length + 1).split('/')[0] ?? ''))].sort();
}

function hashOf(text: string | undefined): string | undefined {
  return text === undefined ? undefined : createHash('sha256').update(text).digest('hex');
}
