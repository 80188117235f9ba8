import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { after, type TestContext, test } from 'node:test';
import type { CriRuntime, PullOptions, Runtime } from '../../src/contracts/runtime.js';
import { RuntimeError } from '../../src/contracts/runtime.js';
import { RegistryError } from '../../src/errors.js';
import { parseImageReference } from '../../src/reference/image-reference.js';
import { driver } from '../../src/runtimes/docker.js';
import {
  basicCredential,
  bigImage,
  describeRuntimeConformance,
  FakeLog,
  FakeMetrics,
  failureOf,
  type MemoryRegistry,
  startMemoryRegistry,
} from '../../src/testing/index.js';
import { run, succeeded } from './harness/command.js';
import { imageWithUser, putImage } from './harness/cri-images.js';
import { type DockerRegistry, startDockerRegistry } from './harness/docker-registry.js';
import { type Dockerd, startDockerd } from './harness/dockerd.js';
import { freePort } from './harness/free-port.js';
import { requirePrograms } from './harness/require-programs.js';
import { waitFor } from './harness/wait-for.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// The driver in front of a Docker Engine, its files on a small disk of their own, with three registries: one that is open
// to all, one with a password, and one where things go wrong.

const password = 'p+/=ß word';
const credential = basicCredential('alice', password);
const wrong = basicCredential('alice', 'wrong-password');
const o = { signal: new AbortController().signal };
setMaxListeners(0, o.signal); // twenty pulls share it

interface House {
  readonly workspace: Workspace;
  readonly dockerd: Dockerd;
  readonly open: DockerRegistry;
  readonly closed: DockerRegistry;
  readonly faulty: MemoryRegistry;
}

let opened: Promise<House> | undefined;
after(async () => (await opened)?.workspace.close());

/** @returns undefined where a program is missing: the test was skipped then */
async function houseFor(t: TestContext): Promise<House | undefined> {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return undefined;
  opened ??= openHouse();
  return opened;
}

async function openHouse(): Promise<House> {
  const workspace = await openWorkspace();
  try {
    const disk = workspace.path('docker', 'data');
    mkdirSync(disk, { recursive: true });
    const mount = ['-t', 'tmpfs', '-o', 'size=192m', 'tmpfs', disk];
    succeeded(await run('mount', mount, { env: workspace.environment() }));
    const [dockerd, open, closed, faulty] = await Promise.all([
      startDockerd(workspace),
      startDockerRegistry(workspace),
      startDockerRegistry(workspace, { kind: 'htpasswd', users: { alice: password } }),
      startMemoryRegistry(),
    ]);
    workspace.onClose(() => faulty.close());
    const image = imageWithUser('shared\n');
    await putImage(open, 'team/app', ['1', '2'], image);
    const guarded = { url: closed.url, credentials: `alice:${password}` };
    await putImage(guarded, 'team/app', ['1'], image);
    await putImage(guarded, 'team/secret', ['1'], imageWithUser('secret\n'));
    return { workspace, dockerd, open, closed, faulty };
  } catch (error) {
    await workspace.close();
    throw error;
  }
}

/** Opened as the program does, from its configuration. */
async function runtimeOf(
  t: TestContext,
  { dockerd, workspace }: House,
  settings: object = {},
): Promise<Runtime> {
  const config = driver.config.parse({ endpoint: `unix://${dockerd.socket}`, ...settings });
  const runtime = await driver.open(config, {
    id: 'runtime',
    baseDirectory: workspace.directory,
    clock: { now: () => Date.now() },
    log: new FakeLog(),
    metrics: new FakeMetrics(),
  });
  t.after(() => runtime.close());
  return engine(runtime);
}

function engine(runtime: Runtime | CriRuntime): Runtime {
  assert.equal(runtime.kind, 'engine');
  return runtime as Runtime;
}

/** An image of two layers of noise that no other test knows. */
async function putNoise({ faulty }: House, name: string, size = 300_000): Promise<string> {
  const image = await bigImage({
    layers: 2,
    size,
    seed: name.length * 31 + name.charCodeAt(0),
    message: name,
  });
  faulty.putImage(name, '1', image);
  return `${faulty.host}/${name}:1`;
}

const pull = (runtime: Runtime, image: string, more: Partial<PullOptions> = {}) =>
  runtime.pull(parseImageReference(image), { ...o, ...more });

async function runtimeFault(
  call: () => Promise<unknown>,
  fault: RuntimeError['fault'],
): Promise<RuntimeError> {
  const error = await failureOf(call);
  assert.ok(error instanceof RuntimeError, `expected a RuntimeError: ${error}`);
  assert.equal(error.fault, fault, error.message);
  return error;
}

async function registryError(
  call: () => Promise<unknown>,
  code: RegistryError['code'],
): Promise<RegistryError> {
  const error = await failureOf(call);
  assert.ok(error instanceof RegistryError, `expected a RegistryError: ${error}`);
  assert.equal(error.code, code, error.reason);
  return error;
}

test('the engine and its registries start', async (t) => {
  await houseFor(t);
});

describeRuntimeConformance('docker', async (t) => {
  const house = await houseFor(t);
  if (!house) return undefined;
  const runtime = await runtimeOf(t, house);
  for (const { id } of await runtime.list(o)) await runtime.remove(id, o);
  const { open, closed } = house;
  return {
    runtime,
    image: parseImageReference(`${open.host}/team/app:1`),
    twin: parseImageReference(`${open.host}/team/app:2`),
    absent: parseImageReference(`${open.host}/team/app:absent`),
    unreachable: parseImageReference(`127.0.0.1:${await freePort()}/team/app:1`),
    guarded: { image: parseImageReference(`${closed.host}/team/secret:1`), credential, wrong },
  };
});

test('the docker runtime', async (t) => {
  const house = await houseFor(t);
  if (!house) return;
  const { dockerd, open, closed, faulty, workspace } = house;
  const runtime = await runtimeOf(t, house, { pinned: [`${open.host}/infra/**`] });

  for (const [user, expected] of [
    ['1002', { uid: 1002 }],
    ['1003:1004', { uid: 1003 }],
    ['www-data', { username: 'www-data' }],
    ['www-data:100', { username: 'www-data' }],
    [undefined, undefined],
  ] as const) {
    await t.test(`tells the user of an image: ${user ?? 'none'}`, async () => {
      const name = `users/${(user ?? 'none').replace(':', '-')}`;
      await putImage(open, name, ['1'], imageWithUser(`${name}\n`, user));
      const id = await pull(runtime, `${open.host}/${name}:1`);
      const found = await runtime.status(`${open.host}/${name}:1`, o);
      assert.deepEqual(found?.user, expected);
      await runtime.remove(id, o);
    });
  }

  await t.test('an image from two registries is one, and goes with both names', async () => {
    const names = [`${open.host}/team/app:1`, `${closed.host}/team/app:1`];
    const [first = '', second = ''] = names;
    const id = await pull(runtime, first);
    assert.equal(await pull(runtime, second, { credential }), id);
    assert.deepEqual([...((await runtime.status(id, o))?.repoTags ?? [])].sort(), [...names].sort());
    await runtime.remove(second, o);
    for (const gone of [...names, id]) assert.equal(await runtime.status(gone, o), undefined, gone);
  });

  await t.test('lists a repository without a tag with all its images', async () => {
    const id = await pull(runtime, `${open.host}/team/app:2`);
    const listed = async (image: string) => (await runtime.list({ ...o, image })).map((one) => one.id);
    assert.deepEqual(await listed(`${open.host}/team/app`), [id]);
    assert.deepEqual(await listed(`${open.host}/team/app:1`), []);
    assert.deepEqual(await listed(`${open.host}/team`), []);
    assert.equal(await runtime.status(`${open.host}/team/app`, o), undefined, 'it has no tag latest');
    await runtime.remove(id, o);
  });

  await t.test('marks pinned images', async () => {
    await putImage(open, 'infra/pause', ['1'], imageWithUser('pause\n'));
    const id = await pull(runtime, `${open.host}/infra/pause:1`);
    const other = await pull(runtime, `${open.host}/team/app:1`);
    const pinned = new Map((await runtime.list(o)).map((one) => [one.id, one.pinned]));
    assert.deepEqual([pinned.get(id), pinned.get(other)], [true, false]);
    assert.equal((await runtime.status(id, o))?.pinned, true);
    for (const one of [id, other]) await runtime.remove(one, o);
  });

  await t.test('an image without a name has none', async () => {
    const file = workspace.file('nameless/Dockerfile', 'FROM scratch\nCOPY Dockerfile /a\nUSER 7\n');
    const built = succeeded(await dockerd.docker(['build', '--quiet', file.replace(/\/Dockerfile$/, '')]));
    const id = built.stdout.trim();
    const found = (await runtime.list(o)).find((one) => one.id === id);
    assert.deepEqual([found?.repoTags, found?.repoDigests], [[], []]);
    assert.deepEqual((await runtime.status(id, o))?.repoTags, []);
    await runtime.remove(id, o);
    assert.equal(await runtime.status(id, o), undefined);
  });

  await t.test('an image that a container needs keeps all its names', async () => {
    const names = [`${open.host}/team/app:1`, `${open.host}/team/app:2`, `${closed.host}/team/app:1`];
    for (const name of names) await pull(runtime, name, { credential });
    const created = succeeded(await dockerd.docker(['create', names[0] ?? '']));
    const container = created.stdout.trim();
    const error = await runtimeFault(() => runtime.remove(names[1] ?? '', o), 'in use');
    assert.match(error.message, new RegExp(container.slice(0, 12)));
    assert.equal((await runtime.status(names[0] ?? '', o))?.repoTags.length, 3, 'a name was lost');
    succeeded(await dockerd.docker(['rm', container]));
    await runtime.remove(names[0] ?? '', o);
    assert.equal(await runtime.status(names[2] ?? '', o), undefined);
  });

  await t.test('tells what is used of which disk', async () => {
    const id = await pull(runtime, await putNoise(house, 'usage', 2_000_000));
    const [usage] = await (await runtimeOf(t, house)).fsInfo(o);
    assert.equal(usage?.mountpoint, workspace.path('docker', 'data'));
    assert.ok((usage?.usedBytes ?? 0) > 4_000_000, `only ${usage?.usedBytes} bytes`);
    assert.ok(
      (usage?.usedBytes ?? 0) < 192 * 1024 * 1024,
      `${usage?.usedBytes} bytes are more than the disk has`,
    );
    assert.ok((usage?.inodesUsed ?? 0) > 0, 'no inode');
    await runtime.remove(id, o);
  });

  await t.test('tells bytes and layers of a pull', async () => {
    const told: { readonly bytes: number; readonly done: number; readonly total: number }[] = [];
    const image = await putNoise(house, 'progress', 3_000_000);
    const onProgress: PullOptions['onProgress'] = ({ bytes, layers }) => told.push({ bytes, ...layers });
    const id = await pull(runtime, image, { onProgress });
    const last = told.at(-1);
    assert.deepEqual([last?.done, last?.total], [3, 3]);
    assert.ok((last?.bytes ?? 0) > 6_000_000, `only ${last?.bytes} bytes`);
    await runtime.remove(id, o);
  });

  for (const [what, answer, code] of [
    [
      '429',
      { status: 429, body: '{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}' },
      'TOOMANYREQUESTS',
    ],
    ['403', { status: 403, body: '{"errors":[{"code":"DENIED","message":"not yours"}]}' }, 'DENIED'],
    ['401', { status: 401, body: '{"errors":[{"code":"UNAUTHORIZED","message":"who?"}]}' }, 'UNAUTHORIZED'],
    ['404', { status: 404, body: '{"errors":[{"code":"NAME_UNKNOWN","message":"?"}]}' }, 'NAME_UNKNOWN'],
    ['503', { status: 503, body: '<html><body>denied: not found</body></html>' }, 'UNAVAILABLE'],
    ['502 of a proxy', { status: 502, body: '<html><svg/></html>' }, 'UNAVAILABLE'],
  ] as const) {
    await t.test(`a registry that answers ${what} is ${code}`, async () => {
      const image = await putNoise(house, `answers-${what.slice(0, 3)}`);
      const clear = faulty.faults.add({ path: '/manifests/' }, { answer });
      const error = await registryError(() => pull(runtime, image), code);
      assert.doesNotMatch(error.reason ?? '', /</);
      clear();
      await runtime.remove(await pull(runtime, image), o);
    });
  }

  await t.test('a registry that cuts the connection is UNAVAILABLE', async () => {
    const image = await putNoise(house, 'cut');
    const clear = faulty.faults.add({ path: '/manifests/' }, { reset: true });
    await registryError(() => pull(runtime, image), 'UNAVAILABLE');
    clear();
  });

  await t.test('a cancelled pull ends in the engine, too', async () => {
    const image = await putNoise(house, 'cancelled', 3_000_000);
    const clear = faulty.faults.add({ method: 'GET', path: '/blobs/' }, { stallAfter: 1_000_000 });
    const cancel = new AbortController();
    const pulling = pull(runtime, image, { signal: cancel.signal });
    await faulty.waitFor(({ method, path }) => method === 'GET' && path.includes('cancelled/blobs/'));
    const reason = new Error('nobody waits any more');
    cancel.abort(reason);
    assert.equal(await failureOf(() => pulling), reason);
    clear();
    // It would wait for the layers that do not come, if the engine still loaded them.
    await runtime.remove(await pull(runtime, image), o);
  });

  await t.test('a pull without progress is given up', async () => {
    const hasty = await runtimeOf(t, house, { stallTimeout: '1s' });
    const image = await putNoise(house, 'stalled', 3_000_000);
    const clear = faulty.faults.add({ method: 'GET', path: '/blobs/' }, { stallAfter: 1_000_000 });
    await runtimeFault(() => pull(hasty, image), 'stalled');
    clear();
    await hasty.remove(await pull(hasty, image), o);
  });

  await t.test('twenty pulls at once, of images that share layers', async () => {
    const images: string[] = [];
    for (let i = 0; i < 20; i++) {
      const name = `many/${i}`;
      faulty.putImage(name, '1', await bigImage({ layers: 3, size: 50_000, seed: 7, message: `${i % 5}` }));
      images.push(`${faulty.host}/${name}:1`);
    }
    const ids = await Promise.all(images.map((image) => pull(runtime, image)));
    assert.equal(new Set(ids).size, 5);
    await Promise.all(ids.map((id) => runtime.remove(id, o)));
    for (const id of ids) assert.equal(await runtime.status(id, o), undefined);
  });

  await t.test('a full disk is told as one, and is no end', async () => {
    const image = await putNoise(house, 'large', 20_000_000);
    const ballast = workspace.path('docker', 'data', 'ballast');
    fill(ballast);
    await runtimeFault(() => pull(runtime, image), 'full');
    rmSync(ballast);
    await runtime.remove(await pull(runtime, image), o);
  });

  await t.test(
    'an engine that dies in mid-pull is unavailable, and comes back',
    { timeout: 120_000 },
    async () => {
      const image = await putNoise(house, 'killed', 3_000_000);
      const clear = faulty.faults.add({ method: 'GET', path: '/blobs/' }, { stallAfter: 1_000_000 });
      const pulling = failureOf(() => pull(runtime, image));
      await faulty.waitFor(({ method, path }) => method === 'GET' && path.includes('killed/blobs/'));
      await dockerd.kill();
      const error = await pulling;
      assert.ok(error instanceof RuntimeError, `${error}`);
      assert.deepEqual(
        [error.fault, error.message.includes(dockerd.socket)],
        ['unavailable', true],
        error.message,
      );
      clear();
      for (const call of [
        () => pull(runtime, image),
        () => runtime.status(image, o),
        () => runtime.list(o),
        () => runtime.remove(image, o),
      ]) {
        await runtimeFault(call, 'unavailable');
      }
      await dockerd.start();
      assert.ok(
        await waitFor(async () => (await runtime.list(o)).length >= 0, 10_000),
        'it does not come back',
      );
      await runtime.remove(await pull(runtime, image), o);
    },
  );
});

/** Writes until nothing more fits. */
function fill(path: string): void {
  for (let size = 8 * 1024 * 1024; size >= 4096; ) {
    try {
      writeFileSync(path, Buffer.alloc(size), { flag: 'a' });
    } catch {
      size /= 2;
    }
  }
}
