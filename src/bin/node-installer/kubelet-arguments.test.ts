import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { parse } from 'yaml';
import { ImageFsInfoResponseSchema } from '../../grpc/cri/runtime_pb.js';
import { frame } from '../../grpc/frames.js';
import { FakeCriRuntime } from '../../testing/fake-cri-runtime.js';
import {
  type ArgumentsSurroundings,
  type KubeletArgumentsOptions,
  writeKubeletArguments,
} from './kubelet-arguments.js';

function directoryOf(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'drp-arguments-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

interface Written {
  readonly isInTime: boolean;
  /** Absent: no file. */
  readonly text: string | undefined;
  readonly stderr: string;
}

async function run(
  t: TestContext,
  options: KubeletArgumentsOptions,
  {
    environment = {},
    patience = 5_000,
    ...more
  }: Partial<Pick<ArgumentsSurroundings, 'environment' | 'patience' | 'startsFile' | 'now'>> = {},
): Promise<Written> {
  const file = join(directoryOf(t), 'kubelet.env');
  writeFileSync(file, 'KUBELET_EXTRA_ARGS="of an earlier start"\n');
  let stderr = '';
  const write = (line: string) => {
    stderr += line;
  };
  const surroundings = { environment, patience, stderr: { write }, ...more };
  const isInTime = await writeKubeletArguments({ write: file, ...options }, surroundings);
  return {
    isInTime,
    text: readdirSync(join(file, '..')).includes('kubelet.env') ? readFileSync(file, 'utf8') : undefined,
    stderr,
  };
}

/** An image service that answers ImageFsInfo as kubelet wants it. */
async function endpoint(t: TestContext): Promise<string> {
  const fsInfo = { imageFilesystems: [{ fsId: { mountpoint: '/var' }, usedBytes: { value: 1n } }] };
  const message = frame(toBinary(ImageFsInfoResponseSchema, create(ImageFsInfoResponseSchema, fsInfo)));
  const runtime = new FakeCriRuntime(async ({ stream }) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(message);
  });
  t.after(() => runtime.close());
  await runtime.listen();
  return `unix://${runtime.path}`;
}

/** Takes connections and never says a word. */
async function silent(t: TestContext): Promise<string> {
  const path = join(directoryOf(t), 's');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => void sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `unix://${path}`;
}

const variable = 'KUBELET_EXTRA_ARGS';

describe('an endpoint', { timeout: 60_000 }, () => {
  for (const mode of ['host', 'pod']) {
    test(`that answers is added to what the variable has: mode ${mode}`, async (t) => {
      const address = await endpoint(t);
      const environment = { [variable]: '--v=2 --node-labels="a=b c"' };
      const written = await run(t, { mode, variable, endpoint: address }, { environment });
      assert.deepEqual(written, {
        isInTime: true,
        text: `${variable}="--v=2 --node-labels=\\"a=b c\\" --image-service-endpoint=${address}"\n`,
        stderr: '',
      });
    });
  }

  const cases: readonly (readonly [
    what: string,
    options: (t: TestContext) => Promise<KubeletArgumentsOptions>,
    why: RegExp,
  ])[] = [
    [
      'that is not there',
      async () => ({ mode: 'host', variable, endpoint: 'unix:///nonexistent/x' }),
      /no socket/,
    ],
    [
      'that says nothing',
      async (t) => ({ mode: 'host', variable, endpoint: await silent(t) }),
      /did not answer/,
    ],
    ['that is no address', async () => ({ mode: 'host', variable, endpoint: 'x' }), /--endpoint/],
    ['that is missing', async () => ({ mode: 'host', variable }), /--endpoint is missing/],
    ['without a variable', async (t) => ({ mode: 'host', endpoint: await endpoint(t) }), /--variable/],
    [
      'with a variable that is no name',
      async (t) => ({ mode: 'host', variable: 'A=B\nC', endpoint: await endpoint(t) }),
      /--variable/,
    ],
    ['and a mode that nobody knows', async () => ({ mode: 'x', variable }), /--endpoint is missing/],
  ];
  for (const [what, options, why] of cases) {
    test(`${what}: nothing is added, in one line`, async (t) => {
      const { isInTime, text, stderr } = await run(t, await options(t), { patience: 1_500 });
      assert.deepEqual([isInTime, text], [true, '']);
      assert.match(stderr, why);
      assert.match(stderr, /^kubelet starts without the image service: [^\n]+\n$/);
    });
  }

  test('and a variable with an open quote: nothing is added', async (t) => {
    const environment = { [variable]: '--a="b' };
    const { text, stderr } = await run(
      t,
      { mode: 'host', variable, endpoint: await endpoint(t) },
      { environment },
    );
    assert.equal(text, '');
    assert.match(stderr, /quote/);
  });

  test('and no place to write: nothing of an earlier start is left, and nothing is thrown', async (t) => {
    const unwritable = join(directoryOf(t), 'missing', 'kubelet.env');
    const { isInTime, stderr } = await run(t, {
      mode: 'host',
      variable,
      endpoint: await endpoint(t),
      write: unwritable,
    });
    assert.equal(isInTime, true);
    assert.match(stderr, /^[^\n]+ENOENT[^\n]*\n$/);
  });
});

describe('kubelet started again and again', { timeout: 60_000 }, () => {
  /** Each with what it is given; `at` in minutes. */
  async function starts(t: TestContext, startsFile: string, times: readonly number[]) {
    const options = { mode: 'host', variable, endpoint: await endpoint(t) };
    const given: { readonly isGiven: boolean; readonly stderr: string }[] = [];
    for (const at of times) {
      const now = () => Date.parse('2026-01-01T00:00:00Z') + at * 60_000;
      const { text, stderr } = await run(t, options, { startsFile, now });
      given.push({ isGiven: text !== '', stderr });
    }
    return given;
  }

  test('with our arguments is started without them for a while, and that is told', async (t) => {
    const file = join(directoryOf(t), 'starts', 'starts.json');
    const given = await starts(t, file, [0, 1, 1, 2, 2, 20, 31, 32]);
    const expected = [true, true, true, true, false, false, false, true];
    assert.deepEqual(
      given.map(({ isGiven }) => isGiven),
      expected,
    );
    assert.match(
      given[5]?.stderr ?? '',
      /^kubelet starts without the image service: kubelet was started with it again and again[^\n]* 12 min\n$/,
    );
    assert.deepEqual(readdirSync(join(file, '..')), ['starts.json']);
  });

  test('without them does not count', async (t) => {
    const file = join(directoryOf(t), 'starts.json');
    for (let turn = 0; turn < 6; turn++) {
      await run(t, { mode: 'host', variable, endpoint: 'unix:///nonexistent/x' }, { startsFile: file });
    }
    assert.deepEqual(await starts(t, file, [0]), [{ isGiven: true, stderr: '' }]);
  });

  for (const [what, prepare] of [
    ['cannot be written', (file: string) => mkdirSync(file, { recursive: true })],
    ['cannot be parsed', (file: string) => writeFileSync(file, '{', { flag: 'wx' })],
    ['has a file in the place of its directory', (file: string) => writeFileSync(join(file, '..'), '')],
  ] as const) {
    test(`with them has them where the count ${what}`, async (t) => {
      const directory = directoryOf(t);
      const file = what.includes('directory') ? join(directory, 'x', 'starts.json') : join(directory, 'x');
      prepare(file);
      assert.deepEqual(await starts(t, file, [0]), [{ isGiven: true, stderr: '' }]);
    });
  }
});

describe('credential providers', { timeout: 60_000 }, () => {
  const provider = (name: string) => ({
    name,
    matchImages: ['*.dkr.ecr.*.amazonaws.com'],
    defaultCacheDuration: '12h',
    apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
  });
  const theirs = (...names: readonly string[]) =>
    JSON.stringify({
      apiVersion: 'kubelet.config.k8s.io/v1',
      kind: 'CredentialProviderConfig',
      providers: names.map(provider),
    });

  /** A node with plugins of its own, and our configuration. */
  function node(t: TestContext, present: Readonly<Record<string, string>>, plugins: readonly string[]) {
    const directory = directoryOf(t);
    const [bin, own] = [join(directory, 'plugins'), join(directory, 'own')];
    const [run, theirConfig] = [join(directory, 'run'), join(directory, 'theirs')];
    for (const one of [bin, own, run, theirConfig]) mkdirSync(one);
    for (const name of plugins) writeFileSync(join(bin, name), '', { mode: 0o755 });
    for (const [name, text] of Object.entries(present)) writeFileSync(join(theirConfig, name), text);
    const config = join(own, 'config.yaml');
    writeFileSync(config, 'images: [{ match: docker.example.com/**, credentials: { type: anonymous } }]\n');
    const options = {
      ...{ mode: 'credential-provider', variable, config, write: join(run, 'kubelet.env') },
      ...{ providerConfig: join(theirConfig, 'config.json'), providerBinDirectory: bin },
    };
    return { run, bin, theirConfig, options };
  }

  test("the node's own, and ours after them", async (t) => {
    const {
      run: runDirectory,
      bin,
      options,
    } = node(t, { 'config.json': theirs('ecr-credential-provider') }, ['ecr-credential-provider']);
    const { stderr } = await run(t, { ...options, allow: ['exec'] });
    assert.equal(stderr, '');
    const [config, binDirectory] = [
      join(runDirectory, 'credential-provider.yaml'),
      join(runDirectory, 'bin'),
    ];
    assert.equal(
      readFileSync(options.write, 'utf8'),
      `${variable}="--image-credential-provider-config=${config} --image-credential-provider-bin-dir=${binDirectory}"\n`,
    );
    const { providers } = parse(readFileSync(config, 'utf8'));
    assert.deepEqual(providers[0], provider('ecr-credential-provider'));
    assert.equal(providers[1].name, 'kubelet-image-service');
    assert.deepEqual(providers[1].args.slice(-4), ['--config', options.config, '--allow', 'exec']);
    assert.deepEqual(readdirSync(binDirectory), ['ecr-credential-provider', 'kubelet-image-service']);
    const link = join(binDirectory, 'ecr-credential-provider');
    assert.equal(readlinkSync(link), join(bin, 'ecr-credential-provider'));
    assert.ok(lstatSync(join(binDirectory, 'kubelet-image-service')).isSymbolicLink(), 'ours is no link');
    assert.deepEqual(readdirSync(runDirectory).sort(), ['bin', 'credential-provider.yaml', 'kubelet.env']);
  });

  test('a directory of them', async (t) => {
    const {
      theirConfig,
      run: runDirectory,
      options,
    } = node(t, { 'a.json': theirs('a'), 'b.yaml': theirs('b'), 'c.txt': '{' }, ['a', 'b']);
    assert.equal((await run(t, { ...options, providerConfig: theirConfig })).stderr, '');
    assert.deepEqual(readdirSync(join(runDirectory, 'bin')), ['a', 'b', 'kubelet-image-service']);
  });

  test('none', async (t) => {
    const { providerConfig: _, providerBinDirectory: __, ...options } = node(t, {}, []).options;
    assert.equal((await run(t, options)).stderr, '');
    assert.match(readFileSync(options.write, 'utf8'), /credential-provider-config/);
  });

  for (const [what, present, plugins, more] of [
    ['that are not there', {}, [], {}],
    ['that cannot be parsed', { 'config.json': '{' }, [], {}],
    ['without their plugin', { 'config.json': theirs('a') }, [], {}],
    ['without a directory', { 'config.json': theirs('a') }, ['a'], { providerBinDirectory: undefined }],
    [
      'and no configuration of ours',
      { 'config.json': theirs('a') },
      ['a'],
      { config: '/nonexistent/x.yaml' },
    ],
  ] as const) {
    test(`${what}: nothing is added, in one line`, async (t) => {
      const { options } = node(t, present, plugins);
      const { isInTime, stderr } = await run(t, { ...options, ...more } as KubeletArgumentsOptions);
      assert.equal(isInTime, true);
      assert.equal(readFileSync(options.write, 'utf8'), '');
      assert.match(stderr, /^kubelet starts without the image service: [^\n]+\n$/);
    });
  }

  test("a pipe in the place of the node's own is not waited for", async (t) => {
    const { theirConfig, options } = node(t, {}, []);
    execFileSync('mkfifo', [join(theirConfig, 'config.json')]);
    const { isInTime, stderr } = await run(t, options);
    assert.equal(isInTime, true);
    assert.match(stderr, /expected a file/);
    assert.equal(readFileSync(options.write, 'utf8'), '');
  });
});
