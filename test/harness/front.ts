import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Reloader } from '../../src/bin/reloader.js';
import { type RunningProxy, startProxy } from '../../src/bin/running-proxy.js';
import type { Configuration } from '../../src/config/configuration.js';
import { loadConfiguration } from '../../src/config/load.js';
import { formatProblem } from '../../src/config/problem.js';
import type { Clock } from '../../src/contracts/clock.js';
import { createLog } from '../../src/observability/pino-log.js';
import { PrometheusMetrics } from '../../src/observability/prometheus-metrics.js';
import { type Answer, basic, type ClientRequest, send } from './client.js';
import { houseSettings, htpasswd, passwords, type User } from './house.js';
import type { Scope } from './scope.js';

export interface FrontOptions {
  /** Beside the configuration, by name; `users.htpasswd` is there. */
  readonly files?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
  /** Milliseconds between two looks at the configuration; without it only `reload` looks. */
  readonly watch?: number;
}

export type LogLine = Readonly<Record<string, unknown>>;

/** A proxy in this process, on free ports, with all it wrote. */
export interface Front {
  readonly port: number;
  readonly adminPort: number;
  /** Where the configuration and its files are. */
  readonly directory: string;
  send(path: string, options?: ClientRequest): Promise<Answer>;
  /** The same with a user's password as Basic. */
  sendAs(user: User, path: string, options?: ClientRequest): Promise<Answer>;
  /** A token's text. @throws an Error where none is issued */
  token(user: User | undefined, scopes: readonly string[], options?: TokenOptions): Promise<string>;
  /** All that was logged, as it was written. */
  log(): string;
  logLines(): readonly LogLine[];
  /** Waits for a line: it may be written after the answer has arrived. */
  logLine(match: (line: LogLine) => boolean): Promise<LogLine>;
  metrics(): Promise<string>;
  /** The value of a metric with its labels as they are printed: `x_total{a="b"}`; 0 where it is not there. */
  metric(name: string): Promise<number>;
  /** Overwrites the configuration in place, or by renaming; what it leaves out is of the house. */
  configure(yaml: string, how?: 'in place' | 'renamed'): void;
  /** As SIGHUP does, of the whole program. Never rejects; the log tells what became of it. */
  reload(): Promise<void>;
  /** What is behind it. */
  readonly proxy: RunningProxy;
  stop(): Promise<void>;
}

export interface TokenOptions {
  readonly host?: string;
  readonly service?: string;
}

/** Starts a proxy with a configuration in YAML; top-level settings it leaves out are those of the house. */
export async function startFront(scope: Scope, yaml: string, options: FrontOptions = {}): Promise<Front> {
  const directory = await mkdtemp(join(tmpdir(), 'front-test-'));
  let stop: (() => Promise<void>) | undefined;
  scope.after(async () => {
    await stop?.();
    rmSync(directory, { recursive: true, force: true });
  });
  const file = await writeFiles(directory, yaml, options.files ?? {});
  const loaded = await loadConfiguration(file);
  if ('problems' in loaded) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  const written: string[] = [];
  const metrics = new PrometheusMetrics();
  const stdout = { write: (line: string) => void written.push(line) };
  const log = createLog(loaded.configuration.log.level, stdout);
  const clock = options.clock ?? Date;
  const proxy = await startProxy(loaded.configuration, { clock, log, metrics, stdout });
  const onApplied = (next: Configuration) => {
    log.level = next.log.level;
  };
  const reloader = new Reloader({ served: proxy, load: loadConfiguration, log, metrics, onApplied });
  if (options.watch !== undefined) reloader.watch(options.watch);
  stop = () => {
    reloader.close();
    return proxy.stop();
  };
  const base = { port: proxy.address.port, adminPort: proxy.adminAddress?.port ?? 0, directory, stop, proxy };
  return {
    ...base,
    ...clientOf(base.port),
    ...logOf(written),
    metrics: () => metrics.print(),
    metric: async (name) => sampleOf(name, await metrics.print()),
    configure: (text, how) => overwrite(file, whole(text), how),
    reload: () => {
      proxy.reopenFiles();
      return reloader.reload('signal');
    },
  };
}

/** Writes a file that is watched. */
export function overwrite(file: string, text: string, how: 'in place' | 'renamed' = 'in place'): void {
  writeFileSync(how === 'in place' ? file : `${file}.new`, text, { mode: 0o600 });
  if (how === 'renamed') renameSync(`${file}.new`, file);
}

function whole(yaml: string): string {
  const missing = Object.entries(houseSettings).filter(([key]) => !new RegExp(`^${key}:`, 'm').test(yaml));
  return [...missing.map(([, text]) => text), yaml].join('\n');
}

function sampleOf(name: string, printed: string): number {
  const line = printed.split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}

async function writeFiles(
  directory: string,
  yaml: string,
  files: Readonly<Record<string, string>>,
): Promise<string> {
  const all = {
    'users.htpasswd': await htpasswd(passwords),
    ...files,
    'proxy.yaml': whole(yaml),
  };
  for (const [name, text] of Object.entries(all)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), text, { mode: 0o600 });
  }
  return join(directory, 'proxy.yaml');
}

function clientOf(port: number): Pick<Front, 'send' | 'sendAs' | 'token'> {
  const sendAs: Front['sendAs'] = (user, path, options = {}) => {
    const authorization = basic(user, passwords[user]);
    return send(port, path, { ...options, headers: { authorization, ...options.headers } });
  };
  return {
    send: (path, options) => send(port, path, options),
    sendAs,
    async token(user, scopes, { host, service } = {}) {
      const query = new URLSearchParams(scopes.map((one): [string, string] => ['scope', one]));
      if (service !== undefined) query.set('service', service);
      const request = host === undefined ? {} : { host };
      const path = `/token?${query}`;
      const answer = user === undefined ? await send(port, path, request) : await sendAs(user, path, request);
      if (answer.status !== 200) throw new Error(`no token: ${answer.status} ${answer.text}`);
      return (JSON.parse(answer.text) as { token: string }).token;
    },
  };
}

function logOf(written: readonly string[]): Pick<Front, 'log' | 'logLines' | 'logLine'> {
  const log = () => written.join('');
  const logLines = () =>
    log()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as LogLine);
  return {
    log,
    logLines,
    async logLine(match) {
      for (let i = 0; i < 250; i++) {
        const line = logLines().find(match);
        if (line !== undefined) return line;
        await sleep(20);
      }
      throw new Error(`no such line in the log:\n${log()}`);
    },
  };
}
