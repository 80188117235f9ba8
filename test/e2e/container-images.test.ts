import assert from 'node:assert/strict';
import { copyFileSync, cpSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ImageNode } from '../cli/image-node.js';
import {
  healthOf,
  type ImageConfiguration,
  inspectImage,
  pathsIn,
  readInImage,
  stoppedWith,
} from './harness/built-image.js';
import { run, succeeded } from './harness/command.js';
import { type Dockerd, startDockerd } from './harness/dockerd.js';
import { startFront } from './harness/front.js';
import { type ImageBases, makeImageBases } from './harness/image-bases.js';
import { proxyAddress } from './harness/proxy.js';
import { requirePrograms } from './harness/require-programs.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// The images of deploy/docker, built by the local engine without any network, and run as they would be in production.

const root = fileURLToPath(new URL('../..', import.meta.url));
const { version, dependencies, devDependencies } = JSON.parse(
  readFileSync(join(root, 'package.json'), 'utf8'),
) as Record<'dependencies' | 'devDependencies', Record<string, string>> & { version: string };
const revision = '0123456789abcdef0123456789abcdef01234567';
const created = '2026-01-31T12:00:00Z';
const hardened = ['--read-only', '--cap-drop=ALL', '--security-opt=no-new-privileges'];

test('container images', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr', 'debootstrap')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const dockerd = await startDockerd(workspace, {}, undefined, 'overlay2');
  const bases = await makeImageBases(workspace, dockerd);
  const debian = new Set(await pathsIn(dockerd, bases.runtime));
  const image: BuiltImage = { workspace, dockerd, bases, debian };
  await t.test('docker-registry-proxy', (t) => testProxy(t, image));
  await t.test('kubelet-image-service', (t) => testImageService(t, image));
});

interface BuiltImage {
  readonly workspace: Workspace;
  readonly dockerd: Dockerd;
  readonly bases: ImageBases;
  /** The paths of the base. */
  readonly debian: ReadonlySet<string>;
}

async function testProxy(t: TestContext, image: BuiltImage): Promise<void> {
  const { workspace, dockerd, debian } = image;
  const { docker } = dockerd;
  const name = 'docker-registry-proxy:test';
  await build(image, 'docker-registry-proxy', name, root);
  const added = (await pathsIn(dockerd, name)).filter((path) => !debian.has(path));
  const app = 'opt/docker-registry-proxy';

  await t.test('says what it is, and runs as nobody', async () => {
    const { configuration, size } = await inspectImage(dockerd, name);
    assert.equal(configuration.User, '65532:65532');
    assert.equal(configuration.StopSignal, 'SIGTERM');
    assert.deepEqual(configuration.Entrypoint, ['/usr/local/bin/node', `/${app}/dist/bin/${title(name)}.js`]);
    assertLabels(configuration, name, image);
    t.diagnostic(`${name}: ${mebibytes(size)} MiB with its base`);
    const said = await docker(['run', '--rm', '--network=none', ...hardened, name, '--version']);
    assert.ok(succeeded(said).stdout.includes(version), said.output);
  });

  await t.test('holds the program and its production packages, and nothing else', () => {
    const places = [
      /^(node_modules|opt|usr\/local\/bin|usr\/share\/sbom|(etc|var\/lib)\/docker-registry-proxy)\/$/,
      /^usr\/local\/bin\/(node|docker-registry-proxy)$/,
      /^usr\/share\/sbom\/docker-registry-proxy\.(cyclonedx|spdx)\.json$/,
      /^node_modules\/docker-registry-proxy$/,
      new RegExp(`^${app}/($|dist/|node_modules/|(package\\.json|LICENSE)$)`),
    ];
    assert.deepEqual(strange(added, places), []);
    const unwanted =
      /\.git(\/|$)|\.test\.[jt]s$|(?<!\.d)\.tsx?$|\.map$|^opt\/docker-registry-proxy\/dist\/(testing|test)\//;
    const own = added.filter((path) => !path.startsWith(`${app}/node_modules/`));
    assert.deepEqual(
      own.filter((path) => unwanted.test(path)),
      [],
    );
    const packages = packagesOf(added, `${app}/node_modules/`);
    assert.deepEqual(
      Object.keys(dependencies).filter((each) => !packages.has(each)),
      [],
    );
    const ofDevelopment = Object.keys(devDependencies).filter((each) =>
      added.includes(`${app}/node_modules/${each}/`),
    );
    assert.deepEqual(ofDevelopment, []);
  });

  await t.test('lists its parts: the packages that are there, no other', async () => {
    const packages = [...packagesOf(added, `${app}/node_modules/`)].sort();
    const { cyclonedx, spdx } = await partsOf(dockerd, name);
    assert.deepEqual(cyclonedx, packages);
    assert.deepEqual(spdx, packages);
  });

  await t.test('leads a plugin to the copy that runs', async () => {
    const code = "console.log(import.meta.resolve('docker-registry-proxy/plugin'))";
    const node = ['--network=none', '--entrypoint=/usr/local/bin/node', name, '--input-type=module'];
    const found = succeeded(await docker(['run', '--rm', ...node, '--eval', code]));
    assert.equal(found.stdout, `file:///${app}/dist/plugin.js\n`);
  });

  await t.test('serves pulls without a right, is healthy, and ends when asked', async () => {
    const front = await startFront(workspace);
    const { host, listen, url: externalUrl, adminHost } = await proxyAddress();
    const state = '/var/lib/docker-registry-proxy';
    const settings = {
      ...{ ...front.configuration, listen, externalUrl, admin: { listen: adminHost } },
      ...{ token: { keys: { directory: `${state}/keys` } }, state: { type: 'file', path: `${state}/state` } },
    };
    const configuration = workspace.path('container');
    workspace.file('container/config.yaml', JSON.stringify(settings)); // JSON is YAML
    for (const file of ['users.htpasswd', 'upstream-password']) {
      copyFileSync(workspace.path('proxy', file), join(configuration, file));
    }
    succeeded(await run('chown', ['-R', '65532:65532', configuration], { env: workspace.environment() }));
    const mounts = ['-v', `${configuration}:/etc/docker-registry-proxy:ro`, '-v', `proxy-state:${state}`];
    const options = [...hardened, '--network=host', '--health-interval=1s', ...mounts];
    succeeded(await docker(['run', '--detach', '--name=proxy', ...options, name]));
    t.after(() => docker(['rm', '--force', 'proxy']));
    const log = async () => (await docker(['logs', 'proxy'])).output;

    assert.equal(await healthOf(dockerd, 'proxy'), 'healthy', await log());
    const login = ['login', '-u', 'alice', '--password-stdin', host];
    succeeded(await docker(login, { input: front.passwords.alice }));
    const pulled = succeeded(await docker(['pull', `${host}/closed/tiny:1`]));
    assert.ok(pulled.stdout.includes(front.image.digest), pulled.stdout);

    assert.equal(await stoppedWith(dockerd, 'proxy'), 0, await log());
    assert.match(await log(), /"event":"stop","signal":"SIGTERM"/);
  });
}

async function testImageService(t: TestContext, image: BuiltImage): Promise<void> {
  const { workspace, dockerd, bases, debian } = image;
  const { docker } = dockerd;
  const name = 'kubelet-image-service:test';
  const context = workspace.path('executable-context');
  mkdirSync(context);
  for (const file of ['package.json', 'package-lock.json', 'LICENSE', '.dockerignore']) {
    cpSync(join(root, file), join(context, file));
  }
  const out = join(context, 'dist/executable');
  const script = [join(root, 'scripts/build-executable.mjs'), '--node', bases.node, '--out', out];
  succeeded(await run(process.execPath, script, { env: workspace.environment(), cwd: root }));
  const executable = `dist/executable/kubelet-image-service-linux-${process.arch}`;
  await build(image, 'kubelet-image-service', name, context, ['--build-arg', `EXECUTABLE=${executable}`]);

  await t.test('says what it is', async () => {
    const { configuration, size } = await inspectImage(dockerd, name);
    assert.equal(configuration.User, '0:0');
    assert.equal(configuration.StopSignal, 'SIGTERM');
    assert.deepEqual(configuration.Entrypoint, ['/usr/local/bin/kubelet-image-service']);
    assertLabels(configuration, name, image);
    t.diagnostic(`${name}: ${mebibytes(size)} MiB with its base`);
    const said = await docker(['run', '--rm', '--network=none', ...hardened, name, '--version']);
    assert.ok(succeeded(said).stdout.includes(version), said.output);
  });

  await t.test('holds the executable, and nothing else', async () => {
    const added = (await pathsIn(dockerd, name)).filter((path) => !debian.has(path));
    assert.deepEqual(added.sort(), [
      'opt/kubelet-image-service/',
      'opt/kubelet-image-service/LICENSE',
      'opt/kubelet-image-service/bin/',
      'opt/kubelet-image-service/bin/kubelet-image-service',
      'usr/local/bin/kubelet-image-service',
      'usr/share/sbom/',
      'usr/share/sbom/kubelet-image-service.cyclonedx.json',
      'usr/share/sbom/kubelet-image-service.spdx.json',
    ]);
  });

  await t.test('lists its parts: every production package, none of development', async () => {
    const { cyclonedx, spdx } = await partsOf(dockerd, name);
    assert.deepEqual(cyclonedx, spdx);
    assert.deepEqual(
      Object.keys(dependencies).filter((each) => !cyclonedx.includes(each)),
      [],
    );
    for (const each of ['typescript', 'esbuild', 'playwright-core']) {
      assert.ok(!cyclonedx.includes(each), `${each} is of development`);
    }
  });

  await t.test('serves kubelet beside a runtime, is healthy, and ends when asked', async () => {
    const node = await ImageNode.open(t);
    node.configure({
      listen: 'unix:///run/kubelet-image-service/image.sock',
      runtime: `{ type: cri, endpoint: "unix:///run/containerd/${basename(node.runtime.path)}" }`,
    });
    const mounts = [
      `${node.directory}:/etc/kubelet-image-service:ro`,
      `${dirname(node.socket)}:/run/kubelet-image-service`,
      `${dirname(node.runtime.path)}:/run/containerd`,
    ].flatMap((mount) => ['-v', mount]);
    const options = [...hardened, '--network=none', '--health-interval=1s', ...mounts];
    succeeded(await docker(['run', '--detach', '--name=image-service', ...options, name]));
    t.after(() => docker(['rm', '--force', 'image-service']));
    const log = async () => (await docker(['logs', 'image-service'])).output;

    assert.equal(await healthOf(dockerd, 'image-service'), 'healthy', await log());
    assert.equal(await node.pull('registry.example.com/app:1'), 0, await log());
    assert.deepEqual(
      node.pulls.map(({ image }) => image?.image),
      ['registry.example.com/app:1'],
    );

    assert.equal(await stoppedWith(dockerd, 'image-service'), 0, await log());
    assert.match(await log(), /"event":"stop","signal":"SIGTERM"/);
  });
}

async function build(
  { bases, dockerd }: BuiltImage,
  program: string,
  tag: string,
  context: string,
  more: readonly string[] = [],
): Promise<void> {
  const given = {
    BASE_IMAGE: bases.build,
    RUNTIME_IMAGE: bases.runtime,
    VERSION: version,
    REVISION: revision,
    CREATED: created,
  };
  const args = Object.entries(given).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]);
  const file = join(root, 'deploy/docker', `${program}.Dockerfile`);
  const options = ['--network=none', '-f', file, '-t', tag, ...args, ...more];
  // It compiles everything, on a machine that may have other things to do.
  succeeded(await dockerd.docker(['build', ...options, context], { timeout: 300_000 }));
}

const title = (image: string) => image.replace(/:.*$/, '');
const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);

function assertLabels({ Labels }: ImageConfiguration, name: string, { bases }: BuiltImage): void {
  const { description, ...others } = Object.fromEntries(
    Object.entries(Labels).map(([key, value]) => [key.replace('org.opencontainers.image.', ''), value]),
  );
  assert.ok(description !== undefined && description.length > 40, `description: ${description}`);
  assert.deepEqual(others, {
    ...{ title: title(name), version, revision, created },
    ...{ licenses: 'Apache-2.0', 'base.name': bases.runtime },
  });
}

/** The paths that are at none of the places. */
function strange(paths: readonly string[], places: readonly RegExp[]): readonly string[] {
  return paths.filter((path) => !places.some((place) => place.test(path)));
}

/** The packages below a `node_modules`, those inside others too. */
function packagesOf(paths: readonly string[], directory: string): Set<string> {
  const own = /(?:^|\/node_modules\/)((?:@[^/]+\/)?[^/@.][^/]*)\/package\.json$/;
  const names = paths
    .filter((path) => path.startsWith(directory))
    .map((path) => own.exec(path.slice(directory.length))?.[1])
    .filter((name) => name !== undefined);
  return new Set(names);
}

interface Parts {
  readonly cyclonedx: readonly string[];
  readonly spdx: readonly string[];
}

/** The names in the lists of parts that an image carries, without the program's own. */
async function partsOf(dockerd: Dockerd, image: string): Promise<Parts> {
  const read = async (format: string) => {
    const text = await readInImage(dockerd, image, `/usr/share/sbom/${title(image)}.${format}.json`);
    return JSON.parse(text) as Record<'components' | 'packages', readonly Part[]> & { bomFormat?: string };
  };
  const [cyclonedx, spdx] = [await read('cyclonedx'), await read('spdx')];
  assert.equal(cyclonedx.bomFormat, 'CycloneDX');
  const names = (parts: readonly Part[]) =>
    [...new Set(parts.map(({ group, name }) => (group ? `${group}/${name}` : name)))]
      .filter((name) => name !== 'docker-registry-proxy')
      .sort();
  return { cyclonedx: names(cyclonedx.components), spdx: names(spdx.packages) };
}

interface Part {
  readonly group?: string;
  readonly name: string;
}
