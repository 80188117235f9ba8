import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CommandResult, run, succeeded } from './command.js';
import { waitFor } from './wait-for.js';
import type { Workspace } from './workspace.js';

const script = fileURLToPath(new URL('systemd-node.sh', import.meta.url));
const repository = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');

/** Where the executable of Node.js that runs the tests is found on a node. */
export const nodeOfNodes = '/opt/node';

export interface SystemdNodeOptions {
  readonly name?: string;
  /** The platform's own files by absolute path; a program's text begins with `#!`. */
  readonly files?: Readonly<Record<string, string>>;
  /** Units that are started at boot, in the order systemd chooses. */
  readonly units?: readonly string[];
}

export interface NodeCommandOptions {
  /** Milliseconds; then it is killed. */
  readonly timeout?: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
}

/** Everything a file is, for a comparison: kind, mode and a hash of its content. */
export type DiskContent = ReadonlyMap<string, string>;

/**
 * A machine with systemd as process 1 of namespaces of its own: mounts, processes, network, host name, cgroups. Its disk
 * is this machine's with what it has written over it; `/etc` holds only what a test put there. `/run` and `/tmp` are
 * fresh at each boot. The workspace and the repository have their usual paths there.
 */
export class SystemdNode {
  readonly #workspace: Workspace;
  readonly #name: string;
  readonly #options: SystemdNodeOptions;
  #unshare: ChildProcess | undefined;
  #pid = 0;

  private constructor(workspace: Workspace, options: SystemdNodeOptions) {
    this.#workspace = workspace;
    this.#name = options.name ?? 'node';
    this.#options = options;
  }

  /** Starts it; the workspace closes it. @throws an Error with what systemd said where it is not up within 90 s */
  static async start(workspace: Workspace, options: SystemdNodeOptions = {}): Promise<SystemdNode> {
    const node = new SystemdNode(workspace, options);
    for (const name of ['root', 'upper', 'work']) mkdirSync(node.#at(name), { recursive: true });
    workspace.onClose(() => node.close());
    node.#layOut(() => true);
    await node.#boot();
    return node;
  }

  /** Process 1, as this machine numbers it. */
  get pid(): number {
    return this.#pid;
  }

  /** Runs a program inside to its end, whatever its exit code. */
  run(command: string, args: readonly string[] = [], o: NodeCommandOptions = {}): Promise<CommandResult> {
    return run('nsenter', this.#enter(command, args), {
      env: { PATH: process.env.PATH, HOME: '/root', LC_ALL: 'C.UTF-8', ...o.env },
      ...(o.input !== undefined && { input: o.input }),
      timeout: o.timeout ?? 120_000,
    });
  }

  /** Starts a program inside that the caller talks to and ends. */
  spawn(command: string, args: readonly string[]): ChildProcess {
    const env = { PATH: process.env.PATH, HOME: '/root', LC_ALL: 'C.UTF-8' };
    return spawn('nsenter', this.#enter(command, args), { env });
  }

  /** @returns what `systemctl` printed. @throws an Error where it failed */
  async systemctl(...args: readonly string[]): Promise<string> {
    return succeeded(await this.run('systemctl', args)).stdout.trim();
  }

  /** What a unit has written since the boot. */
  async journal(unit: string): Promise<string> {
    return (await this.run('journalctl', ['--no-pager', '-o', 'short-precise', '-u', unit])).output;
  }

  /** Where this machine finds a file of the running node. Only links within one directory can be followed. */
  path(path: string): string {
    return `/proc/${this.#pid}/root${path}`;
  }

  exists(path: string): boolean {
    return existsSync(this.path(path));
  }

  read(path: string): string {
    return readFileSync(this.path(path), 'utf8');
  }

  /** With its directories. */
  write(path: string, text: string, mode = text.startsWith('#!') ? 0o755 : 0o644): void {
    writeTo(this.path(path), text, mode);
  }

  remove(path: string): void {
    rmSync(this.path(path), { recursive: true, force: true });
  }

  /** All that is on its disk beside what this machine has, and all of `/etc`; without journals and systemd's own notes. */
  disk(): DiskContent {
    const found = new Map<string, string>();
    collect(found, this.#at('etc'), '/etc');
    collect(found, this.#at('upper'), '');
    return found;
  }

  /** The power goes, and comes back. @param o.etcLost `/etc` is again as the platform's image has it */
  async reboot({ etcLost = false } = {}): Promise<void> {
    await this.#powerOff();
    if (etcLost) {
      rmSync(this.#at('etc'), { recursive: true });
      this.#layOut((path) => path.startsWith('/etc/'));
    }
    rmSync(this.#at('work'), { recursive: true, force: true });
    mkdirSync(this.#at('work'));
    await this.#boot();
  }

  /** Kills it. Harmless when it has ended. */
  async close(): Promise<void> {
    await this.#powerOff();
  }

  #at(...parts: string[]): string {
    return this.#workspace.path(this.#name, ...parts);
  }

  #enter(command: string, args: readonly string[]): readonly string[] {
    const namespaces = ['--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup'];
    return ['--target', String(this.#pid), ...namespaces, '--root', '--wdns=/', '--', command, ...args];
  }

  /** Puts the platform's files to where the disk is made of. */
  #layOut(isWanted: (path: string) => boolean): void {
    const etc = this.#at('etc');
    mkdirSync(etc, { recursive: true });
    for (const name of ['passwd', 'group', 'ld.so.cache']) {
      if (existsSync(`/etc/${name}`)) copyFileSync(`/etc/${name}`, join(etc, name));
    }
    if (this.#options.files?.['/etc/os-release'] === undefined) {
      symlinkSync('../usr/lib/os-release', join(etc, 'os-release'));
    }
    const wants = ['systemd-journald.service', ...(this.#options.units ?? [])].join(' ');
    const files = { ...plainEtc, [bootDropIn]: `[Unit]\nWants=${wants}\n`, ...this.#options.files };
    for (const [path, text] of Object.entries(files).filter(([name]) => isWanted(name))) {
      const place = path.startsWith('/etc/') ? this.#at(path) : this.#at('upper', path);
      writeTo(place, text, text.startsWith('#!') ? 0o755 : 0o644);
    }
  }

  async #boot(): Promise<void> {
    const log = openSync(this.#at('console'), 'a', 0o600);
    const bound = [this.#workspace.directory, repository];
    const child = spawn(
      'unshare',
      [
        ...[
          '--mount',
          '--propagation',
          'private',
          'sh',
          '-c',
          enterCgroup,
          'sh',
          this.#at('root'),
          this.#cgroup,
        ],
        ...['sh', script, this.#at(), process.execPath, ...bound],
      ],
      { env: { PATH: process.env.PATH }, stdio: ['ignore', log, log] },
    );
    closeSync(log);
    child.on('error', () => undefined); // `isUp` sees that there is none
    this.#unshare = child;
    const isUp = await waitFor(() => hasEnded(child) || this.#isUp(child), 90_000);
    if (isUp && !hasEnded(child)) return;
    const said = readFileSync(this.#at('console'), 'utf8');
    await this.#powerOff();
    throw new Error(`systemd did not start as process 1:\n${said}`);
  }

  async #isUp(child: ChildProcess): Promise<boolean> {
    const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim();
    this.#pid = Number(children);
    if (!children || !this.exists('/run/systemd/private')) return false;
    const { stdout } = await this.run('systemctl', ['is-system-running']);
    return /^(running|degraded)$/.test(stdout.trim());
  }

  get #cgroup(): string {
    return `${this.#workspace.directory.replaceAll('/', '-').replace(/^-/, '')}-${this.#name}`;
  }

  async #powerOff(): Promise<void> {
    const child = this.#unshare;
    if (child === undefined) return;
    this.#unshare = undefined;
    // With process 1 all others of its namespace end; `unshare` has --kill-child.
    if (!hasEnded(child)) child.kill('SIGKILL');
    const pid = this.#pid;
    const isGone = await waitFor(() => hasEnded(child) && !existsSync(`/proc/${pid || 'none'}`), 20_000);
    const removal = ['--mount', '--propagation', 'private', 'sh', '-c', removeCgroup, 'sh'];
    const args = [...removal, this.#at('root'), this.#cgroup];
    const removed = await waitFor(async () => (await run('unshare', args, env)).code === 0, 10_000);
    if (!isGone || !removed) throw new Error(`the node ${this.#name} did not end`);
  }
}

const env = { env: { PATH: process.env.PATH } };

/** A cgroup of the node's own: it becomes the root of what systemd sees. The mount is seen by nobody else. */
const enterCgroup = `set -eu
mount -t cgroup2 cgroup2 "$1"
mkdir -p "$1/$2"
echo $$ > "$1/$2/cgroup.procs"
umount "$1"
shift 2
exec unshare --pid --fork --mount --uts --ipc --cgroup --net --kill-child=SIGKILL "$@"`;

const removeCgroup = `set -eu
mount -t cgroup2 cgroup2 "$1"
[ ! -d "$1/$2" ] || find "$1/$2" -depth -type d -exec rmdir {} +`;

const bootDropIn = '/etc/systemd/system/multi-user.target.d/10-node.conf';

const plainEtc = {
  '/etc/machine-id': '0123456789abcdef0123456789abcdef\n',
  '/etc/hostname': 'node\n',
  '/etc/hosts': '127.0.0.1 localhost\n::1 localhost\n',
  '/etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files\n',
} as const;

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

function writeTo(place: string, text: string, mode: number): void {
  mkdirSync(dirname(place), { recursive: true });
  writeFileSync(place, text, { mode });
}

const notOurs = /^\/(var\/log|var\/lib\/systemd|var\/tmp|opt\/node|root\/\.)/;

function collect(found: Map<string, string>, directory: string, shown: string): void {
  for (const name of readdirSync(directory).sort()) {
    const path = `${shown}/${name}`;
    if (notOurs.test(path)) continue;
    const place = join(directory, name);
    const stat = lstatSync(place);
    const mode = (stat.mode & 0o7777).toString(8);
    if (stat.isDirectory()) collect(found, place, path);
    else if (stat.isSymbolicLink()) found.set(path, `link to ${readlinkSync(place)}`);
    else if (!stat.isFile()) found.set(path, 'deleted');
    else found.set(path, `${mode} ${createHash('sha256').update(readFileSync(place)).digest('hex')}`);
  }
}
