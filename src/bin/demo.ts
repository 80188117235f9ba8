import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { hash } from '@node-rs/bcrypt';
import { stringify } from 'yaml';
import { loadConfiguration } from '../config/load.js';
import { formatProblem } from '../config/problem.js';
import { describeError } from '../errors.js';
import { createLog } from '../observability/pino-log.js';
import { PrometheusMetrics } from '../observability/prometheus-metrics.js';
import { type MemoryRegistry, startMemoryRegistry, tinyImage } from '../testing/index.js';
import { exitCodes, fail } from './exit.js';
import { type RunningProxy, startProxy } from './running-proxy.js';
import { stopSignal, stopWhenAsked } from './signals.js';

/** 5000, the registries' usual port, belongs to AirPlay on a Mac. */
const defaultPort = '5050';
const message = 'Hello from an image that was pulled through docker-registry-proxy.\n';

interface Demonstration {
  readonly proxy: RunningProxy;
  readonly registry: MemoryRegistry;
  readonly directory: string;
  readonly password: string;
}

async function start(port: number): Promise<Demonstration> {
  const registry = await startMemoryRegistry({ auth: upstreamAuth });
  const directory = await mkdtemp(join(tmpdir(), 'docker-registry-proxy-demo-'));
  try {
    registry.putImage('demo-project/hello', 'latest', tinyImage(message));
    const password = randomBytes(8).toString('hex');
    await writeFile(join(directory, 'users.htpasswd'), `demo:${await hash(password, 10)}\n`, { mode: 0o600 });
    await writeFile(join(directory, 'upstream-password'), upstreamAuth.password, { mode: 0o600 });
    const file = join(directory, 'config.yaml');
    await writeFile(file, stringify(settings(port, registry.url)));
    const loaded = await loadConfiguration(file);
    if ('problems' in loaded) throw new Error(loaded.problems.map(formatProblem).join('\n'));
    const surroundings = {
      clock: Date,
      log: createLog('warn', process.stderr),
      metrics: new PrometheusMetrics(),
      stdout: process.stdout,
    };
    return { proxy: await startProxy(loaded.configuration, surroundings), registry, directory, password };
  } catch (error) {
    await registry.close();
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

/** The hosted registry has credentials of its own, which nobody who logs in to the proxy ever sees. */
const upstreamAuth = {
  kind: 'basic',
  username: 'proxy',
  password: randomBytes(18).toString('base64url'),
} as const;

function settings(port: number, registryUrl: string): unknown {
  return {
    listen: `127.0.0.1:${port}`,
    externalUrl: `http://localhost:${port}`,
    upstreams: {
      hosted: {
        url: registryUrl,
        credentials: {
          type: 'static',
          username: upstreamAuth.username,
          password: { file: 'upstream-password' },
        },
      },
      hub: { url: 'https://registry-1.docker.io' },
    },
    routes: [
      { prefix: '', upstream: 'hosted', rewrite: 'demo-project/' },
      { prefix: 'hub/', upstream: 'hub' },
    ],
    verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }],
    catalog: ['hosted'],
    policy: [
      { names: ['local:demo'], repositories: ['*'], actions: ['pull', 'push'] },
      { names: ['local:demo'], repositories: ['hub/**'], actions: ['pull'] },
    ],
    token: { keys: { directory: 'keys' } },
    state: { type: 'memory' },
  };
}

function instructions({ proxy, registry, password }: Demonstration): string {
  const host = `localhost:${proxy.address.port}`;
  return `
docker-registry-proxy is running on http://${host}
in front of a registry in this process (${registry.url}), with one user.

Log in, then pull an image that is named demo-project/hello there:

  docker login ${host} --username demo --password ${password}
  docker pull ${host}/hello
  docker run --rm ${host}/hello

Push one:

  docker tag ${host}/hello ${host}/mine
  docker push ${host}/mine
  curl -u demo:${password} http://${host}/v2/_catalog

From Docker Hub, where this machine reaches it:

  docker pull ${host}/hub/alpine

Podman and skopeo want to be told that this demonstration has no TLS:

  podman login --tls-verify=false ${host} --username demo --password ${password}
  podman pull --tls-verify=false ${host}/hello

Your own configuration:  npm start -- --config FILE
Ctrl-C ends it.
`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { port: { type: 'string', default: defaultPort } } });
  const port = /^\d{1,5}$/.test(values.port) ? Number(values.port) : Number.NaN;
  if (!(port <= 65_535)) fail('--port: expected a port number', exitCodes.usage);
  const demonstration = await start(port);
  process.stdout.write(instructions(demonstration));
  const { proxy, registry, directory } = demonstration;
  stopWhenAsked(
    proxy,
    stopSignal(),
    () => process.stdout.write('\nstopping\n'),
    async () => {
      await registry.close();
      await rm(directory, { recursive: true, force: true });
    },
  );
}

try {
  await main();
} catch (error) {
  const hint = /EADDRINUSE/.test(describeError(error)) ? '; another port: npm start -- --port 5051' : '';
  fail(`the demonstration cannot start: ${describeError(error)}${hint}`, exitCodes.usage);
}
