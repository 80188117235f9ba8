import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf } from '../../src/reference/digest.js';
import { tinyImage } from '../../src/testing/index.js';
import { type Cloud, type Clouds, passwordCloud, startClouds } from '../e2e/harness/clouds.js';
import { acr, ecr, google } from '../e2e/harness/clouds-by-identity.js';
import { proxyAddress, type RunningProxy, startProxy } from '../e2e/harness/proxy.js';
import { requirePrograms } from '../e2e/harness/require-programs.js';
import { waitFor } from '../e2e/harness/wait-for.js';
import { openWorkspace } from '../e2e/harness/workspace.js';
import { basic, bearer, htpasswd, pushImage, send } from '../harness/index.js';
import { startDockerHub } from './harness/docker-hub.js';
import type { FrontWorld } from './harness/front-bearer.js';
import { secretsIn } from './harness/front-secrets.js';
import type { WorldRequest } from './harness/world.js';

// A cluster is switched on: a hundred clients come to a proxy that knows nothing yet, each with its own login and its own
// connections, and want the same. Whatever lets somebody in at a cloud answers only when all of them are there.

const clients = 100;
const image = tinyImage('for a herd');
const wanted = [
  { path: 'manifests/1', digest: image.root.digest },
  ...image.blobs.slice(0, 2).map(({ digest }) => ({ path: `blobs/${digest}`, digest })),
];
const others = ['one', 'two', 'three', 'four', 'five'];
const users = Array.from({ length: clients }, (_, i) => ({ name: `node-${i}`, password: `pass-word-${i}` }));

interface Row {
  readonly cloud: Cloud;
  /** What a herd costs there. */
  readonly credentials: 0 | 1;
  /** Tokens for each repository. */
  readonly tokens: 0 | 1;
}

const rows: readonly Row[] = [
  { cloud: google, credentials: 1, tokens: 1 },
  { cloud: ecr, credentials: 1, tokens: 0 },
  { cloud: acr, credentials: 1, tokens: 1 },
  {
    cloud: passwordCloud('hub', 'docker.io', 'acme-ci', startPatientHub),
    ...{ credentials: 0, tokens: 1 },
  },
];

/** Its limit counts each manifest that is read. */
function startPatientHub(surroundings: FrontWorld) {
  const hub = startDockerHub(surroundings);
  hub.limits.pullsLeft = 100 * clients;
  return hub;
}

interface House {
  readonly clouds: Clouds;
  readonly proxy: RunningProxy;
  /** All ask for the same of one repository, or each of one of them, and get it. */
  herd(...repositories: readonly string[]): Promise<void>;
}

async function openHouse(
  t: TestContext,
  { name }: Cloud,
  clouds: Clouds,
  start: () => Promise<RunningProxy>,
) {
  const gate = new Gate(clouds);
  t.after(() => gate.open());
  const proxy = await start();
  const port = Number(proxy.host.split(':')[1]);
  const ask = async (repository: string, user: (typeof users)[number]) => {
    const place = `${name}/${repository}`;
    const token = await login(proxy, place, user);
    gate.arrived++;
    const headers = { authorization: bearer(token), accept: image.root.mediaType };
    const answers = await Promise.all(
      wanted.map(({ path }) => send(port, `/v2/${place}/${path}`, { headers, host: proxy.host })),
    );
    return answers.map(({ status, body }) => ({ path: place, digest: digestOf(body), status }));
  };
  const herd: House['herd'] = async (...repositories) => {
    gate.close();
    const answers = await Promise.all(
      users.map((user, i) => ask(repositories[i % repositories.length] ?? '', user)),
    );
    const wrong = answers.flat().filter(({ status }) => status !== 200);
    assert.deepEqual(wrong, []);
    for (const each of answers) {
      assert.deepEqual(
        each.map(({ digest }) => digest),
        wanted.map(({ digest }) => digest),
      );
    }
  };
  return { clouds, proxy, herd };
}

/** At the proxy: each client has its own password. */
async function login(proxy: RunningProxy, place: string, { name, password }: (typeof users)[number]) {
  const query = new URLSearchParams({ service: proxy.host, scope: `repository:${place}:pull` });
  const headers = { authorization: basic(name, password) };
  const port = Number(proxy.host.split(':')[1]);
  const answer = await send(port, `/token?${query}`, { headers, host: proxy.host });
  assert.equal(answer.status, 200, answer.text);
  return (JSON.parse(answer.text) as { token: string }).token;
}

/** Where a cloud is asked what to show, or for something to show. */
const doors = ['/v2/', '/v2/token', '/token', '/oauth2/token', '/oauth2/exchange', '/'];
const tokenDoors = ['/v2/token', '/token', '/oauth2/token'];
const pathOf = ({ path }: WorldRequest) => path.split('?')[0] ?? '';

/** Holds what comes to the doors until the whole herd has come. */
class Gate {
  arrived = 0;
  #closed = true;
  readonly #end: () => void;

  constructor({ world }: Clouds) {
    this.#end = world.intercept(async ({ record }) => {
      if (!this.#closed || !doors.includes(pathOf(record))) return false;
      assert.ok(await waitFor(() => this.arrived >= clients, 40_000), 'the herd did not come');
      // Their requests are on their way.
      await sleep(300);
      this.#closed = false;
      return false;
    });
  }

  close(): void {
    this.arrived = 0;
    this.#closed = true;
  }

  open(): void {
    this.#end();
  }
}

test('a herd', async (t) => {
  if (!requirePrograms(t)) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  workspace.file(
    'proxy/users.htpasswd',
    await htpasswd(Object.fromEntries(users.map(({ name, password }) => [name, password]))),
  );

  for (const row of rows) {
    const { name } = row.cloud;
    await t.test(name, async (t) => {
      const clouds = await startClouds(workspace, [row.cloud]);
      const { world } = clouds;
      const cloud = clouds.cloud(name);
      for (const repository of ['app', ...others]) await putThere(clouds, name, repository);
      const { herd, proxy } = await openHouse(t, row.cloud, clouds, async () =>
        startProxy(workspace, await proxyAddress(), configurationOf(clouds), {
          env: clouds.env,
          name: `${name}.yaml`,
        }),
      );
      t.after(() => proxy.stop());
      const scopesOf = (repositories: readonly string[]) =>
        row.tokens === 0 ? [] : repositories.map((one) => [`repository:acme/${name}/${one}:pull`]);

      await t.test(`${clients} clients, one repository: one credential, one token`, async () => {
        await herd('app');
        assert.deepEqual(cloud.asked(), {
          identities: row.credentials,
          credentials: row.credentials,
          tokens: scopesOf(['app']),
        });
        const pings = world.requestsTo(cloud.host).filter((request) => pathOf(request) === '/v2/');
        assert.equal(pings.length, 1, 'pings');
      });

      await t.test(`${clients} clients, five repositories: five tokens, the same credential`, async () => {
        await herd(...others);
        const asked = cloud.asked();
        assert.deepEqual([asked.identities, asked.credentials], [row.credentials, row.credentials]);
        assert.deepEqual(asked.tokens.slice(row.tokens).sort(), scopesOf(others).sort());
      });

      await t.test('everything was revoked: one of each again', async () => {
        cloud.revoke();
        const from = world.requests.length;
        await herd('app');
        const { identities, credentials } = cloud.asked();
        assert.deepEqual([identities, credentials], [2 * row.credentials, 2 * row.credentials]);
        const granted = world.requests
          .slice(from)
          .filter((request) => tokenDoors.includes(pathOf(request)) && request.status === 200);
        assert.equal(granted.length, row.tokens);
      });

      await t.test('no secret is at another host, nor in the output of the proxy', () => {
        assert.deepEqual(clouds.leaks(), []);
        assert.deepEqual(secretsIn(proxy.output(), clouds.secrets()), []);
      });
    });
  }
});

async function putThere(clouds: Clouds, cloud: string, name: string): Promise<void> {
  const place = `acme/${cloud}/${name}`;
  clouds.cloud(cloud).addRepository?.(place);
  const port = Number(clouds.storage.host.split(':')[1]);
  const answer = await pushImage((path, options) => send(port, path, options), place, '1', image);
  assert.equal(answer.status, 201, answer.text);
}

/** With as much time for a credential as the herd may take to come. */
function configurationOf({ upstreams, routes }: Clouds): object {
  const patient = ([name, upstream]: [string, object]) => {
    const { credentials } = upstream as { credentials?: { readonly type: string } };
    const asks = credentials !== undefined && credentials.type !== 'static';
    return [name, asks ? { ...upstream, credentials: { ...credentials, timeout: '1m' } } : upstream];
  };
  return {
    upstreams: Object.fromEntries(Object.entries(upstreams).map(patient)),
    routes,
    verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }],
    policy: [{ names: ['local:*'], repositories: ['**'], actions: ['pull'] }],
    log: { level: 'debug' },
  };
}
