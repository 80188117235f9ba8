import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ImageFiles } from '../../src/testing/memory-store.js';
import { bigImage } from '../../src/testing/tiny-image.js';
import { secretsIn } from '../clouds/harness/front-secrets.js';
import type { WorldRequest } from '../clouds/harness/world.js';
import { pushImage, send } from '../harness/index.js';
import { type Clouds, type StartedCloud, startClouds } from './harness/clouds.js';
import { acr, ecr, google } from './harness/clouds-by-identity.js';
import { type CommandResult, failedWith, succeeded } from './harness/command.js';
import { writeHtpasswd } from './harness/docker-registry.js';
import { type Dockerd, startDockerd } from './harness/dockerd.js';
import { refuseSecrets } from './harness/front.js';
import { writeOciLayout } from './harness/oci-layout.js';
import { proxyAddress, type RunningProxy, startProxy } from './harness/proxy.js';
import { requirePrograms } from './harness/require-programs.js';
import { type Skopeo, skopeo } from './harness/skopeo.js';
import { waitFor } from './harness/wait-for.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// Credentials of the proxy's that end while real clients pull and push: whoever stands before it does not notice.

const identities = [google, ecr, acr];
type Name = (typeof identities)[number]['name'];

/** Layers of an image that is pulled, and of one that is pushed. */
const pulled = 50;
const pushed = 20;
/** Seconds: how long credentials and tokens live where they end by themselves. */
const life = 5;
/** Milliseconds: what was replaced is not replaced again before. */
const atRest = 5_500;

interface House {
  readonly workspace: Workspace;
  readonly clouds: Clouds;
  readonly proxy: RunningProxy;
  readonly copier: Skopeo;
  readonly docker: Dockerd['docker'];
}

async function openHouse(t: TestContext): Promise<House> {
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const clouds = await startClouds(workspace, identities);
  const password = 'w0nderland';
  await writeHtpasswd(workspace, 'proxy/users.htpasswd', { alice: password });
  const configuration = {
    ...{ upstreams: clouds.upstreams, routes: clouds.routes },
    verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }],
    policy: [{ names: ['local:alice'], repositories: ['**'], actions: ['pull', 'push'] }],
    log: { level: 'debug' },
  };
  const [proxy, { docker }] = await Promise.all([
    startProxy(workspace, await proxyAddress(), configuration, { env: clouds.env }),
    startDockerd(workspace),
  ]);
  const copier = skopeo(workspace);
  succeeded(await docker(['login', '-u', 'alice', '--password-stdin', proxy.host], { input: password }));
  const login = ['login', '--tls-verify=false', '-u', 'alice', '--password-stdin', proxy.host];
  succeeded(await copier(login, password));
  return { workspace, clouds, proxy, copier, docker };
}

/** Past the front: `CLOUD/REPOSITORY:1` of the proxy. */
async function putThere({ clouds }: House, name: Name, repository: string, image: ImageFiles): Promise<void> {
  const place = `acme/${name}/${repository}`;
  clouds.cloud(name).addRepository?.(place);
  const port = Number(clouds.storage.host.split(':')[1]);
  const answer = await pushImage((path, options) => send(port, path, options), place, '1', image);
  assert.equal(answer.status, 201, answer.text);
}

/** The nth of one kind of request at a registry, held until what is due has happened. */
type Due = (n: number) => Promise<void> | void;

/** @returns ends it; the number of them so far */
function eachOf(
  { clouds: { world } }: House,
  { host }: StartedCloud,
  isMeant: (request: WorldRequest) => boolean,
  due: Due,
): () => number {
  let n = 0;
  const end = world.intercept(async (exchange) => {
    if (exchange.record.host === host && isMeant(exchange.record)) await due(++n);
    return false;
  });
  return () => {
    end();
    return n;
  };
}

const isBlobRead = ({ method, path }: WorldRequest) =>
  method === 'GET' && /\/blobs\/sha256:[0-9a-f]{64}$/.test(path);
const isPatch = ({ method }: WorldRequest) => method === 'PATCH';
const isUploadStart = ({ method, path }: WorldRequest) =>
  method === 'POST' && path.endsWith('/blobs/uploads/');

/** Revokes all that a cloud gave, and not again before what was replaced is at rest. */
class Revocations {
  readonly #cloud: StartedCloud;
  #asked = -1;
  times = 0;

  constructor(cloud: StartedCloud) {
    this.#cloud = cloud;
  }

  /** Before each of these requests; those behind it wait, too. */
  before(numbers: readonly number[]): Due {
    const done = new Map<number, Promise<void>>();
    return async (n) => {
      for (const number of numbers.filter((one) => one <= n)) {
        const revoked = done.get(number) ?? this.#revoke();
        done.set(number, revoked);
        await revoked;
      }
    };
  }

  async #revoke(): Promise<void> {
    const replaced = await waitFor(() => this.#cloud.asked().credentials > this.#asked, 30_000);
    assert.ok(replaced, 'what was revoked last was never replaced');
    if (this.times > 0) await sleep(atRest);
    this.#asked = this.#cloud.asked().credentials;
    this.times++;
    this.#cloud.revoke();
  }
}

/** The nth request waits until this much of the whole has passed, so that it lasts longer than a credential. */
function spread(count: number, milliseconds: number): Due {
  const start = Date.now();
  return (n) => sleep(Math.max(start + (n * milliseconds) / count - Date.now(), 0));
}

/** What a registry was shown and refused since a place in the world's list. */
function refusedSince({ clouds: { world } }: House, { host }: StartedCloud, from: number): WorldRequest[] {
  const refused = ({ headers, status }: WorldRequest) =>
    headers.authorization !== undefined && (status === 401 || status === 403);
  return world.requests.slice(from).filter((request) => request.host === host && refused(request));
}

interface AccessLine {
  readonly event?: string;
  readonly operation?: string;
  readonly method?: string;
  readonly repository?: string;
  readonly status: number;
}

/** What clients were answered about one repository. The 401 that asks them to log in is not about one. */
function answersAbout({ proxy }: House, repository: string): readonly AccessLine[] {
  return proxy
    .output()
    .split('\n')
    .filter((line) => line.includes('"event":"access"') && line.includes(repository))
    .map((line) => JSON.parse(line) as AccessLine)
    .filter((line) => line.repository === repository);
}

/** A push asks for blobs that are not there yet. */
function failedOf(lines: readonly AccessLine[]): readonly string[] {
  return lines
    .filter(({ status, method }) => status >= 400 && !(status === 404 && method === 'HEAD'))
    .map(({ method, operation, status }) => `${method} ${operation} ${status}`);
}

interface Case {
  readonly name: Name;
  readonly cloud: StartedCloud;
  readonly revocations: Revocations;
  /** Of images that have no layer in common with others. */
  seed(): number;
}

async function pull(house: House, by: 'docker' | 'skopeo', name: string, digest: string): Promise<void> {
  const { docker, copier, proxy, workspace } = house;
  const image = `${proxy.host}/${name}:1`;
  if (by === 'docker') {
    const { stdout } = succeeded(await docker(['pull', image]));
    assert.ok(stdout.includes(digest), stdout);
    return;
  }
  const target = `dir:${workspace.path(`pulled-${name.replaceAll('/', '-')}`)}`;
  succeeded(await copier(['copy', '--src-tls-verify=false', `docker://${image}`, target]));
}

function push({ copier, proxy }: House, directory: string, name: string): Promise<CommandResult> {
  return copier([
    'copy',
    '--dest-tls-verify=false',
    `oci:${directory}:latest`,
    `docker://${proxy.host}/${name}:1`,
  ]);
}

async function revokedInPull(
  house: House,
  { name, cloud, revocations, seed }: Case,
  by: 'docker' | 'skopeo',
) {
  const { world } = house.clouds;
  const image = await bigImage({ layers: pulled, size: 2_000, seed: seed() });
  const repository = `revoked-${by}`;
  await putThere(house, name, repository, image);
  const from = world.requests.length;
  const { credentials } = cloud.asked();
  const { times } = revocations;
  const stop = eachOf(house, cloud, isBlobRead, revocations.before([10, 35]));
  await pull(house, by, `${name}/${repository}`, image.root.digest);
  assert.ok(stop() > pulled, 'a layer did not come from the registry');
  assert.equal(revocations.times - times, 2);
  const answers = answersAbout(house, `${name}/${repository}`);
  assert.ok(answers.length > pulled, `${answers.length} answers`);
  assert.deepEqual(failedOf(answers), []);
  const refused = refusedSince(house, cloud, from);
  assert.ok(refused.some(isBlobRead), 'no layer was refused: it did not end in the middle');
  const shown = new Set(refused.map(({ headers }) => headers.authorization));
  assert.ok(shown.size >= 2, `refused were ${shown.size} credentials or tokens`);
  assert.equal(cloud.asked().credentials - credentials, 2, 'one credential for each revocation');
}

/** Its end is known: another is had before. */
async function endsInPull(house: House, { name, cloud, seed }: Case) {
  const image = await bigImage({ layers: pulled, size: 2_000, seed: seed() });
  await putThere(house, name, 'short', image);
  const from = house.clouds.world.requests.length;
  const { credentials } = cloud.asked();
  const inTime = spread(pulled, 3 * life * 1000);
  const stop = eachOf(house, cloud, isBlobRead, async (n) => {
    await inTime(n);
    if (n % 15 === 0) cloud.revokeTokens?.();
  });
  await pull(house, 'skopeo', `${name}/short`, image.root.digest);
  stop();
  assert.deepEqual(failedOf(answersAbout(house, `${name}/short`)), []);
  assert.ok(cloud.asked().credentials - credentials >= 2, 'it was not had anew');
  const reads = house.clouds.world.requests
    .slice(from)
    .filter((request) => request.host === cloud.host && isBlobRead(request));
  const shown = new Set(reads.map(({ headers }) => headers.authorization));
  assert.ok(shown.size >= 3, `${shown.size} were shown`);
}

/** The same, and a body that met the end of one would fail. */
async function endsInPush(house: House, { name, cloud, seed }: Case) {
  const image = await bigImage({ layers: pushed, size: 20_000, seed: seed() });
  const { directory } = writeOciLayout(house.workspace, `${name}-short`, image);
  const { credentials } = cloud.asked();
  const stop = eachOf(house, cloud, isPatch, spread(pushed, 3 * life * 1000));
  succeeded(await push(house, directory, `${name}/short-push`));
  assert.ok(stop() >= pushed, 'a layer was not sent');
  assert.deepEqual(failedOf(answersAbout(house, `${name}/short-push`)), []);
  assert.ok(cloud.asked().credentials - credentials >= 2, 'it was not had anew');
}

/** A request without a body is sent again. */
async function revokedBetweenUploads(house: House, { name, cloud, revocations, seed }: Case) {
  const image = await bigImage({ layers: pushed, size: 20_000, seed: seed() });
  const { directory } = writeOciLayout(house.workspace, `${name}-between`, image);
  const from = house.clouds.world.requests.length;
  const stop = eachOf(house, cloud, isUploadStart, revocations.before([8]));
  succeeded(await push(house, directory, `${name}/between`));
  assert.ok(stop() >= pushed, 'a layer was not sent');
  assert.deepEqual(failedOf(answersAbout(house, `${name}/between`)), []);
  assert.ok(refusedSince(house, cloud, from).some(isUploadStart), 'no upload was refused');
}

/** A body that streams is sent once. Google's uploads need no credential once they have begun. */
async function revokedInUpload(house: House, { name, cloud, revocations, seed }: Case) {
  const image = await bigImage({ layers: pushed, size: 20_000, seed: seed() });
  const { directory } = writeOciLayout(house.workspace, `${name}-patch`, image);
  const from = house.clouds.world.requests.length;
  const stop = eachOf(house, cloud, isPatch, revocations.before([8]));
  const first = await push(house, directory, `${name}/patch`);
  stop();
  const failed = failedOf(answersAbout(house, `${name}/patch`));
  const refused = refusedSince(house, cloud, from).filter(isPatch);
  if (name === 'google') {
    succeeded(first);
    assert.deepEqual([failed, refused], [[], []]);
    return;
  }
  failedWith(first, /503 Service Unavailable/);
  assert.ok(refused.length > 0, 'no body was refused');
  assert.deepEqual([...new Set(failed)], ['PATCH upload 503']);
  succeeded(await push(house, directory, `${name}/patch`));
}

/** docker tries each layer again by itself. */
async function revokedInUploadByDocker(house: House, { name, cloud, revocations }: Case, original: string) {
  const { docker, proxy } = house;
  const image = `${proxy.host}/${name}/by-docker:1`;
  succeeded(await docker(['tag', original, image]));
  const stop = eachOf(house, cloud, isPatch, revocations.before([8]));
  succeeded(await docker(['push', image]));
  stop();
  const failed = failedOf(answersAbout(house, `${name}/by-docker`));
  assert.deepEqual([...new Set(failed)], ['PATCH upload 503']);
}

test('a credential that ends in the middle', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd')) return;
  const house = await openHouse(t);
  const { clouds, proxy, docker } = house;
  let seeds = 0;
  const cases = identities.map(({ name }): Case => {
    const cloud = clouds.cloud(name);
    return { name, cloud, revocations: new Revocations(cloud), seed: () => ++seeds };
  });

  // They mostly wait for time to pass.
  await t.test('revoked', { concurrency: cases.length }, async (t) => {
    const all = cases.map((one) =>
      t.test(one.name, async (t) => {
        await t.test(`a pull of ${pulled} layers by docker`, () => revokedInPull(house, one, 'docker'));
        // One of each way to be let in: by token, and by password.
        if (one.name === 'google') {
          await t.test(`a pull of ${pulled} layers by skopeo`, () => revokedInPull(house, one, 'skopeo'));
        }
        if (one.name === 'ecr') {
          await t.test(`a push of ${pushed} layers, between two`, () => revokedBetweenUploads(house, one));
        }
        await t.test(`a push of ${pushed} layers, while they are sent`, () => revokedInUpload(house, one));
      }),
    );
    await Promise.all(all);
  });

  await t.test('revoked: docker pushes', async (t) => {
    const [first, second] = cases;
    assert.ok(first?.name === 'google' && second?.name === 'ecr', 'these are others');
    await putThere(
      house,
      first.name,
      'original',
      await bigImage({ layers: pushed, size: 20_000, seed: ++seeds }),
    );
    const original = `${proxy.host}/google/original:1`;
    succeeded(await docker(['pull', original]));
    await t.test(second.name, () => revokedInUploadByDocker(house, second, original));
  });

  await t.test('ends by itself', { concurrency: cases.length }, async (t) => {
    for (const { cloud } of cases) {
      cloud.shorten?.(life);
      cloud.revoke();
    }
    const all = cases.map((one) =>
      t.test(one.name, async (t) => {
        await t.test(`a pull of ${pulled} layers`, () => endsInPull(house, one));
        if (one.name !== 'ecr') return;
        await t.test(`a push of ${pushed} layers`, () => endsInPush(house, one));
      }),
    );
    await Promise.all(all);
  });

  await t.test('no secret is at another host, nor in the output or the metrics of the proxy', async () => {
    const known = clouds.secrets();
    assert.ok(known.length > 3 * cases.length, `${known.length} secrets`);
    assert.deepEqual(clouds.leaks(), []);
    const metrics = await (await fetch(`http://${proxy.adminHost}/metrics`)).text();
    assert.match(metrics, /^docker_registry_proxy_|_total/m);
    refuseSecrets(proxy.output(), []);
    assert.deepEqual(secretsIn(`${proxy.output()}\n${metrics}`, known), []);
  });
});
