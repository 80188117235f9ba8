import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CommandResult, run } from './command.js';
import { freePort } from './free-port.js';
import { accepts, type Program, startProgram } from './program.js';
import type { Workspace } from './workspace.js';

const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));

/** Where a proxy listens: known before it starts, so that others can be told. */
export interface ProxyAddress {
  /** As clients write it: `127.0.0.1:PORT`. */
  readonly host: string;
  readonly url: string;
  /** Where it listens: the host, unless that is a name. */
  readonly listen: string;
  readonly adminHost: string;
}

export interface RunningProxy extends ProxyAddress {
  /** Everything it wrote, over all restarts. */
  output(): string;
  isRunning(): boolean;
  /** Of the present run. */
  pid(): number;
  stop(): Promise<void>;
  /** Ends it without warning; `restart` starts it again. */
  kill(): Promise<void>;
  /** Stops it, and starts it on the same port; with another configuration where one is given. */
  restart(configuration?: object): Promise<void>;
  /** Overwrites the configuration's file, which the running proxy watches. */
  rewrite(configuration: object): void;
  /** The most memory it has held, in bytes. */
  peakMemory(): number;
}

/**
 * @param scheme `https` where the configuration has a `tls` section
 * @param name what clients call it, who find it at `::1` (see own-etc.ts)
 */
export async function proxyAddress(scheme: 'http' | 'https' = 'http', name?: string): Promise<ProxyAddress> {
  const port = await freePort(name === undefined ? '127.0.0.1' : '::1');
  const host = `${name ?? '127.0.0.1'}:${port}`;
  const listen = name === undefined ? host : `[::1]:${port}`;
  return { host, url: `${scheme}://${host}`, listen, adminHost: `127.0.0.1:${await freePort()}` };
}

/**
 * Starts our own proxy as a program of its own; `listen`, `externalUrl` and `admin` are filled in.
 *
 * @param options.name of its configuration's file, for more than one
 * @param options.env beside what every program of the workspace gets
 */
export async function startProxy(
  workspace: Workspace,
  address: ProxyAddress,
  configuration: object,
  { name = 'proxy.yaml', env = {} }: { readonly name?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<RunningProxy> {
  const write = (settings: object) =>
    workspace.file(`proxy/${name}`, JSON.stringify({ ...listening(address), ...settings }, undefined, 2)); // JSON is YAML
  const file = write(configuration);
  const runs: Program[] = [];
  const current = () => runs.at(-1);
  const start = async () => {
    const [script, ...args] = proxyArguments('serve', '--config', file);
    const command = { command: process.execPath, args: [script, ...args], cwd: root, env };
    runs.push(await startProgram(workspace, { ...command, ready: () => accepts(address.listen) }));
  };
  await start();
  return {
    ...address,
    output: () => runs.map((program) => program.output()).join(''),
    isRunning: () => current()?.isRunning() ?? false,
    pid: () => current()?.pid ?? 0,
    stop: async () => current()?.stop(),
    kill: async () => current()?.kill(),
    restart: async (settings) => {
      await current()?.stop();
      if (settings) write(settings);
      await start();
    },
    rewrite: (settings) => void write(settings),
    peakMemory: () => peakMemory(current()?.pid ?? 0),
  };
}

/** Runs one of the proxy's commands to its end: `check`, `explain`. */
export function runProxyCommand(workspace: Workspace, ...args: readonly string[]): Promise<CommandResult> {
  return runProxyCommandIn(workspace.environment(), ...args);
}

/** The same with more of an environment than every program of a workspace gets. */
export function runProxyCommandIn(
  env: NodeJS.ProcessEnv,
  ...args: readonly string[]
): Promise<CommandResult> {
  return run(process.execPath, proxyArguments(...args), { env, cwd: root });
}

function listening({ listen, url, adminHost }: ProxyAddress): object {
  return { listen, externalUrl: url, admin: { listen: adminHost } };
}

/** `npm test` builds first, and says so; a test file run by itself takes the source as it is. */
function proxyArguments(...args: readonly string[]): [string, ...string[]] {
  return process.env.TEST_BUILT === '1'
    ? [join(root, 'dist/bin/docker-registry-proxy.js'), ...args]
    : ['--import', 'tsx', join(root, 'src/bin/docker-registry-proxy.ts'), ...args];
}

/** `VmHWM` of proc(5), in bytes. */
function peakMemory(pid: number): number {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1]) * 1024;
}
