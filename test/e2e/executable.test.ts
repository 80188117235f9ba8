import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startLoopbackServer } from '../../src/testing/loopback-server.js';
import { requireProgram } from '../../src/testing/programs.js';
import { ImageNode } from '../cli/image-node.js';
import { requestFor } from '../cli/providing.js';
import { BareRoot } from './harness/bare-root.js';
import { type CommandResult, failedWith, run, succeeded } from './harness/command.js';
import { InstalledNode, imageEndpoint, startSurroundings } from './harness/installed-node.js';
import { requirePrograms } from './harness/require-programs.js';
import { requireSystemd } from './harness/require-systemd.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// The self-contained executable, where there is nothing that it could take from a checkout or from a Node.js.

const root = fileURLToPath(new URL('../..', import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const account = '123456789012.dkr.ecr.eu-west-1.amazonaws.com';
const saysItsVersion = new RegExp(
  `^kubelet-image-service ${version.replaceAll('.', '\\.')} \\(commit 1a2b3c4, Node 24\\.\\d+\\.\\d+\\)\n$`,
);

/** @returns where it is */
async function build(workspace: Workspace, arch: string, ...more: readonly string[]): Promise<string> {
  const out = workspace.path('built');
  const kept = Object.entries(process.env).filter(([name]) => /^npm_config_|_proxy$|^HOME$/i.test(name));
  succeeded(
    await run(
      process.execPath,
      ['scripts/build-executable.mjs', '--arch', arch, '--out', out, '--commit', '1a2b3c4', ...more],
      { env: workspace.environment(Object.fromEntries(kept)), cwd: root, timeout: 300_000 },
    ),
  );
  return join(out, `kubelet-image-service-linux-${arch}`);
}

/** `option` with the Node.js 24 that there is already; without one, the build asks npm. */
function node24(option: string): readonly string[] {
  return process.env.NODE24 ? [option, process.env.NODE24] : [];
}

/** @returns false where it was skipped */
function canRun(t: TestContext): boolean {
  for (const [program, aptPackage] of [
    ['strip', 'binutils'],
    ['chroot', 'coreutils'],
  ] as const) {
    if (requireProgram(t, program, aptPackage) === undefined) return false;
  }
  const reason =
    process.arch !== 'x64' ? 'x64 only' : process.getuid?.() !== 0 ? 'chroot: only as root' : undefined;
  if (reason === undefined) return true;
  if (process.env.REQUIRE_PROGRAMS === '1') throw new Error(reason);
  t.skip(reason);
  return false;
}

function configure(bare: BareRoot, name: string, settings: object): string {
  const file = join(bare.directory, 'tmp', name);
  writeFileSync(file, JSON.stringify(settings), { mode: 0o600 }); // JSON is YAML
  return bare.inside(file);
}

function loginsOf({ stdout }: CommandResult): readonly unknown[] {
  return Object.values((JSON.parse(stdout) as { auth: Record<string, unknown> }).auth);
}

test('the executable, in a directory with glibc, libstdc++ and libgcc', async (t) => {
  if (!canRun(t)) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const program = await build(workspace, 'x64', ...node24('--node'));
  const bare = await BareRoot.make(workspace, program);

  await t.test('says what it is, whatever Node.js is told', async () => {
    const env = { NODE_OPTIONS: '--no-such-option' };
    const { output } = succeeded(await bare.run(['--version'], { env }));
    assert.match(output, saysItsVersion);
  });

  await t.test('comes with its checksum', async () => {
    const cwd = workspace.path('built');
    const args = ['--check', `${program}.sha256`];
    succeeded(await run('sha256sum', args, { env: workspace.environment(), cwd }));
  });

  await t.test('is built the same again', async () => {
    const before = readFileSync(`${program}.sha256`, 'utf8');
    await build(workspace, 'x64', ...node24('--node'));
    assert.equal(readFileSync(`${program}.sha256`, 'utf8'), before);
  });

  await t.test('checks a configuration', async () => {
    const match = 'docker.example.com/**';
    const good = configure(bare, 'good.yaml', { images: [{ match, credentials: { type: 'anonymous' } }] });
    const { stdout } = succeeded(await bare.run(['check', '--config', good]));
    assert.match(stdout, /fine for credential-provider/);
    const bad = configure(bare, 'bad.yaml', { images: [{ match, credentials: { type: 'gpc' } }] });
    failedWith(await bare.run(['check', '--config', bad]), /did you mean 'gcp'/);
    const foreign = configure(bare, 'foreign.yaml', { images: [], runtime: { type: 'htpasswd' } });
    failedWith(await bare.run(['check', '--config', foreign]), /unknown type 'htpasswd'/);
  });

  await t.test('prints its JSON Schema, with every driver', async () => {
    const { stdout } = succeeded(await bare.run(['schema']));
    for (const type of ['acr', 'ecr', 'gcp', 'kubernetes-token'])
      assert.ok(stdout.includes(`"${type}"`), type);
  });

  await t.test('opens the sources of every cloud', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    configure(bare, 'key.json', {
      ...{ type: 'service_account', client_email: 'robot@acme.iam.gserviceaccount.com' },
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    });
    const sources = [
      { type: 'gcp', keyFile: 'key.json' },
      ...['ecr', 'acr', 'aws-sts', 'aws-identity', 'azure-identity', 'gcp-identity'].map((type) => ({
        type,
      })),
    ];
    const hosts: Readonly<Record<string, string>> = { gcp: 'gcr.io', ecr: account, acr: 'acme.azurecr.io' };
    const images = sources.map((credentials, i) => ({
      match: `${hosts[credentials.type] ?? `docker${i}.example.com`}/**`,
      credentials,
    }));
    const file = configure(bare, 'clouds.yaml', { images });
    succeeded(await bare.run(['check', '--config', file]));
  });

  await t.test("answers kubelet with a password of ECR's, by Amazon's SDK", async (t) => {
    const asked: string[] = [];
    const ecr = await startLoopbackServer((request, response) => {
      asked.push(`${request.headers['x-amz-target']} ${request.headers.authorization?.slice(0, 37)}`);
      const token = Buffer.from('AWS:of-the-region').toString('base64');
      const expiresAt = Date.now() / 1000 + 3600;
      response.setHeader('content-type', 'application/x-amz-json-1.1');
      response.end(JSON.stringify({ authorizationData: [{ authorizationToken: token, expiresAt }] }));
    });
    t.after(() => ecr.close());
    const credentials = { type: 'ecr', endpoint: ecr.url };
    const file = configure(bare, 'ecr.yaml', { images: [{ match: `${account}/**`, credentials }] });
    // Without /etc/passwd nobody has a home.
    const env = { HOME: '/tmp', AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' };
    const answer = await bare.run(['credential-provider', '--config', file], {
      input: requestFor(`${account}/app`),
      env: { ...env, KUBELET_IMAGE_SERVICE_DEBUG: '1' },
    });
    assert.deepEqual(
      loginsOf(succeeded(answer)),
      [{ username: 'AWS', password: 'of-the-region' }],
      answer.output,
    );
    const target = 'AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken';
    assert.deepEqual(asked, [`${target} AWS4-HMAC-SHA256 Credential=AKIDEXAMP`]);
  });

  await t.test('loads a module that is allowed, and says nothing of it', async () => {
    const [file, input] = [configureModule(bare), requestFor('docker.example.com/app')];
    const ask = (...more: readonly string[]) =>
      bare.run(['credential-provider', '--config', file, ...more], { input });
    failedWith(await ask(), /--allow module/);
    const answer = succeeded(await ask('--allow', 'module'));
    assert.deepEqual(loginsOf(answer), [{ username: 'own', password: 'of-the-module' }]);
    assert.equal(answer.output, answer.stdout);
  });

  await t.test('serves kubelet', async (t) => {
    const node = await openNode(t, bare);
    const endpoint = `unix://${bare.inside(node.socket)}`;
    const credentials = '{ type: static, username: u, password: { file: password } }';
    node.write('password', 'of-the-node');
    const file = node.configure({
      listen: endpoint,
      runtime: `{ type: cri, endpoint: "unix://${bare.inside(node.runtime.path)}" }`,
      images: `[{ match: docker.example.com/**, credentials: ${credentials} }]`,
    });
    const probe = () => bare.run(['probe', '--endpoint', endpoint, '--timeout', '30s']);
    const service = await bare.start(
      ['serve', '--config', bare.inside(file)],
      async () => (await probe()).code === 0,
    );
    assert.equal(await node.pull('docker.example.com/app'), 0);
    assert.equal(node.pulls[0]?.auth?.password, 'of-the-node');
    const status = ['status', '--endpoint', `unix://${bare.inside(node.adminSocket)}`];
    assert.match(succeeded(await bare.run(status)).stdout, /docker\.example\.com\/app/);
    await service.stop();
    for (const line of service.output().trim().split('\n')) JSON.parse(line); // and nothing else
    failedWith(
      await bare.run(['probe', '--endpoint', endpoint, '--timeout', '1s']),
      /no socket|nobody listens/i,
    );
  });

  await t.test('installs itself on a node', (t) => installItself(t, workspace, program));
});

/** It is its own installer, what systemd and kubelet start, and what stands in the journal and the drop-in. */
async function installItself(t: TestContext, workspace: Workspace, program: string): Promise<void> {
  if (!requireSystemd(t) || !requirePrograms(t, 'containerd', 'ctr')) return;
  const around = await startSurroundings(workspace, '', program);
  const n = await InstalledNode.start(around, {});
  const before = n.kubelet.disk();

  const planned = succeeded(await n.ours('plan', '--config', around.config));
  assert.match(planned.stdout, /90-kubelet-image-service\.conf/);
  assert.deepEqual(n.kubelet.disk(), before, 'a plan changes nothing');

  const install = async () => succeeded(await n.ours('install', '--config', around.config)).stdout;
  assert.match(await install(), /install: installed/);
  assert.equal(await n.kubelet.imageEndpoint(), imageEndpoint);
  const pod = await n.kubelet.startPod(await around.newImage('private'));
  assert.deepEqual([pod?.pulled, pod?.through], [true, imageEndpoint], 'the private image was not pulled');
  assert.match(await install(), /nothing to do/);

  const there = '/opt/kubelet-image-service/bin/kubelet-image-service';
  const status = succeeded(await n.node.run(there, ['status'])).stdout;
  assert.match(status, /^node: kubeadm, mode host, installed by /);
  // It is taken away by the one that is taken away.
  succeeded(await n.node.run(there, ['uninstall'], { timeout: 300_000 }));
  assert.deepEqual(n.kubelet.disk(), before, 'an uninstall leaves the disk as it was');
  assert.equal(await n.kubelet.imageEndpoint(), undefined);
  assert.equal(await n.kubelet.isHealthy(5_000), true, 'kubelet is not healthy');
}

/** Its directories are those the program sees. */
async function openNode(t: TestContext, bare: BareRoot): Promise<ImageNode> {
  const { TMPDIR } = process.env;
  process.env.TMPDIR = join(bare.directory, 'tmp');
  try {
    return await ImageNode.open(t);
  } finally {
    if (TMPDIR === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = TMPDIR;
  }
}

/** A driver that waits at its top level, which `require` would not load. @returns the configuration */
function configureModule(bare: BareRoot): string {
  const code = `
    const config = { _zod: {}, safeParseAsync: async () => ({ success: true, data: {} }) };
    const password = await Promise.resolve({ reveal: () => 'of-the-module', isEmpty: false });
    const credential = { kind: 'basic', username: 'own', password };
    const source = { credentialFor: async () => credential, close: async () => {} };
    export const driver = { apiVersion: 1, kind: 'credential-source', type: 'own', config, open: async () => source };
  `;
  writeFileSync(join(bare.directory, 'tmp', 'own.mjs'), code);
  const images = [{ match: 'docker.example.com/**', credentials: { module: './own.mjs' } }];
  return configure(bare, 'module.yaml', { images });
}

test("another machine's executable runs there", async (t) => {
  if (!canRun(t)) return;
  const libraries = '/usr/aarch64-linux-gnu';
  const emulator = requireProgram(t, 'qemu-aarch64-static', 'qemu-user-static');
  if (emulator === undefined) return;
  if (requireProgram(t, 'aarch64-linux-gnu-strip', 'binutils-aarch64-linux-gnu') === undefined) return;
  if (!existsSync(join(libraries, 'lib/libstdc++.so.6'))) {
    const reason = 'no libraries for arm64: apt-get install libc6-arm64-cross libstdc++6-arm64-cross';
    assert.notEqual(process.env.REQUIRE_PROGRAMS, '1', reason);
    return t.skip(reason);
  }
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const program = await build(workspace, 'arm64', ...node24('--host-node'));
  const env = workspace.environment();
  const there = (...args: readonly string[]) => run(emulator, ['-L', libraries, program, ...args], { env });
  assert.match(succeeded(await there('--version')).output, saysItsVersion);
  assert.match(succeeded(await there('probe', '--help')).output, /--endpoint/);
});
