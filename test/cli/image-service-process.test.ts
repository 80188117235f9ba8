import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { lastFirst, type Scope, until } from '../harness/index.js';
import { ImageNode } from './image-node.js';
import { Serving } from './serving.js';

// The program as a service manager sees it: its sockets, its signals, its exit code.

function serve(scope: Scope, file: string, env = process.env, more: readonly string[] = []): Serving {
  return new Serving(scope, file, env, 'kubelet-image-service', more);
}

const isStart = ({ event }: Readonly<Record<string, unknown>>) => event === 'start';

describe('a start that fails: exit code 2, and no socket', () => {
  const cases: readonly (readonly [
    what: string,
    settings: Readonly<Record<string, string>>,
    expected: readonly RegExp[],
  ])[] = [
    [
      'a configuration with several problems',
      { images: '[{ match: x }]', drainTimeout: 'x', runtime: '{ type: podman }' },
      [
        /:2:18: runtime\.type: /,
        /:3:15: drainTimeout: /,
        /:4:10: images\[0\]\.credentials: /,
        /:4:19: images\[0\]\.match: /,
      ],
    ],
    [
      'programs and modules that the command line does not allow',
      {
        images:
          '[{ match: a.example.com/**, credentials: { type: exec } }, { match: b.example.com/**, credentials: { module: ./x.mjs } }]',
        runtime: '{ module: ./y.mjs }',
      },
      [
        /:2:\d+: runtime\.module: .*--allow module lets it$/,
        /:4:\d+: images\[0\]\.credentials\.type: .*--allow exec lets it$/,
        /:4:\d+: images\[1\]\.credentials\.module: .*--allow module lets it$/,
      ],
    ],
    ['a socket whose place is taken', { listen: 'unix:///dev/null' }, [/config\.yaml: .*\/dev\/null/]],
  ];
  for (const [what, settings, expected] of cases) {
    test(what, async (t) => {
      const scope = lastFirst(t);
      const node = await ImageNode.open(scope);
      const serving = serve(scope, node.configure(settings));
      assert.equal(await serving.end(), 2);
      const lines = serving.stderr.trim().split('\n');
      assert.equal(lines.length, expected.length, serving.stderr);
      for (const [i, one] of expected.entries()) assert.match(lines[i] ?? '', one);
      assert.ok(!existsSync(node.socket), 'the socket is there');
      assert.deepEqual(serving.lines().filter(isStart), []);
    });
  }

  test('not: a source that cannot be opened', async (t) => {
    const scope = lastFirst(t);
    const node = await ImageNode.open(scope);
    node.write('key.json', '{"private_key": "hunter2"}');
    const credentials = '{ type: gcp, keyFile: key.json, registryHosts: [a.example.com] }';
    const serving = serve(
      scope,
      node.configure({ images: `[{ match: a.example.com/**, credentials: ${credentials} }]` }),
    );
    await serving.line(isStart);
    const told = serving.lines().find(({ level }) => level === 'error');
    assert.match(String(told?.reason), /^images\[0\]\.credentials\.keyFile: /);
    assert.equal(await node.pull('a.example.com/app'), 0);
    assert.doesNotMatch(JSON.stringify(serving.lines()), /hunter2/);
  });

  test('a second instance', async (t) => {
    const scope = lastFirst(t);
    const node = await ImageNode.open(scope);
    const file = node.configure();
    await serve(scope, file).line(isStart);
    const second = serve(scope, file);
    assert.equal(await second.end(), 2);
    assert.match(second.stderr, /^.*config\.yaml: .*image\.sock.*\n$/);
    assert.equal(await node.pull('a.example.com/app'), 0);
  });
});

describe('signals', () => {
  async function pulling(t: Scope, settings: Readonly<Record<string, string>> = {}) {
    const scope = lastFirst(t);
    const node = await ImageNode.open(scope);
    const file = node.configure(settings);
    const serving = serve(scope, file);
    await serving.line(isStart);
    const release = node.hold();
    const pull = node.pull('a.example.com/app');
    await until('it is pulled', () => node.pulls.length === 1);
    return { node, serving, release, pull };
  }
  const isDraining = ({ message }: Readonly<Record<string, unknown>>) => message === 'draining';

  test('SIGTERM: the running pull finishes first', async (t) => {
    const { serving, release, pull } = await pulling(t);
    serving.signal('SIGTERM');
    await serving.line(isDraining);
    release();
    assert.equal(await pull, 0);
    assert.equal(await serving.end(), 0);
  });

  test('a second one ends it at once', async (t) => {
    const { serving, release, pull } = await pulling(t);
    t.after(release);
    serving.signal('SIGTERM');
    await serving.line(isDraining);
    await sleep(1_100); // what comes sooner is an echo of the first one
    serving.signal('SIGINT');
    assert.equal(await serving.end(), 1);
    assert.notEqual(await pull, 0);
  });

  test('SIGHUP takes a changed configuration over', async (t) => {
    const { node, serving, release, pull } = await pulling(t);
    node.configure({ log: '{ level: debug }' });
    serving.signal('SIGHUP');
    const { because } = await serving.line(({ message }) => message === 'configuration reloaded');
    assert.equal(because, 'signal');
    release();
    assert.equal(await pull, 0);
  });
});

test('before containerd nothing is loaded that another runtime or a source would need', async (t) => {
  const scope = lastFirst(t);
  const node = await ImageNode.open(scope);
  const noted = join(node.directory, 'noted');
  writeFileSync(noted, '');
  const preload = pathToFileURL(fileURLToPath(new URL('note-modules.mjs', import.meta.url)));
  const env = {
    PATH: process.env.PATH,
    NODE_OPTIONS: `--import "${preload}"`,
    NOTED_MODULES: noted,
    PASSWORD: 'x',
  };
  const credentials = 'credentials: { type: static, username: u, password: { env: PASSWORD } }';
  const file = node.configure({ images: `[{ match: a.example.com/**, ${credentials} }]` });
  const serving = serve(scope, file, env);
  await serving.line(isStart);
  assert.equal(await node.pull('a.example.com/app'), 0);
  serving.signal('SIGTERM');
  assert.equal(await serving.end(), 0);
  const loaded = readFileSync(noted, 'utf8');
  assert.match(loaded, /\/@bufbuild\/protobuf\//, 'what is loaded is noted');
  const packages = [...loaded.matchAll(/\/node_modules\/((?:@[^/]+\/)?[^/]+)\//g)].map(
    ([, name = '']) => name,
  );
  const heavy = packages.filter((name) =>
    /^@connectrpc\/|^undici$|^@aws-sdk\/|^@smithy\/|^google-auth-library$|^jose$|^ldapts$|^openid-client$/.test(
      name,
    ),
  );
  assert.deepEqual([...new Set(heavy)], []);
  const own = [
    ...loaded.matchAll(/\/src\/((?:proxy|token|verifiers|policies|upstreams|routing|http)\/[^\n]*)/g),
  ];
  assert.deepEqual(
    own.map(([, name]) => name),
    ['http/admin.ts'],
  );
});

test('one that replaces another gets its sockets; pulls that run there end well, and both stop', async (t) => {
  const scope = lastFirst(t);
  const node = await ImageNode.open(scope);
  const file = node.configure();
  const older = serve(scope, file, process.env, ['--replace']);
  await older.line(isStart);
  const release = node.hold();
  const running = node.pull('a.example.com/older');
  await until('the older one pulls', () => node.pulls.length === 1);
  const newer = serve(scope, file, process.env, ['--replace']);
  await newer.line(isStart);
  const isReplaced = ({ message }: Readonly<Record<string, unknown>>) => /taken over/.test(String(message));
  await older.line(isReplaced);
  release();
  assert.equal(await running, 0);
  assert.equal(await node.pull('a.example.com/newer'), 0);
  older.signal('SIGTERM');
  assert.equal(await older.end(), 0, older.stderr);
  const told = older
    .lines()
    .filter(isReplaced)
    .map(({ path }) => path);
  assert.deepEqual(told.sort(), [node.adminSocket, node.socket], 'once for each socket');
  assert.deepEqual(
    older.lines().filter(({ level }) => level === 'error'),
    [],
  );
  assert.equal(await node.pull('a.example.com/after'), 0, 'the newer one serves on');
  newer.signal('SIGTERM');
  assert.equal(await newer.end(), 0, newer.stderr);
});

test('an error that nobody catches is told, and costs nothing else', async (t) => {
  const scope = lastFirst(t);
  const node = await ImageNode.open(scope);
  node.write('faulty.mjs', faultySource);
  const file = node.configure({
    images: '[{ match: a.example.com/**, credentials: { module: ./faulty.mjs } }]',
  });
  const serving = serve(scope, file, process.env, ['--allow', 'module']);
  await serving.line(isStart);
  assert.equal(await node.pull('a.example.com/app'), 0);
  const { level, stack } = await serving.line(({ message }) => message === 'an error nobody caught: a bug');
  assert.equal(level, 'error');
  assert.match(String(stack), /Error: thrown in an event\n/);
  assert.equal(await node.pull('a.example.com/app'), 0, 'it serves');
  serving.signal('SIGTERM');
  assert.equal(await serving.end(), 0, serving.stderr);
});

/** Has no credential, and a fault. */
const faultySource = `
import { z } from '${import.meta.resolve('zod')}';
export const driver = {
  apiVersion: 1, kind: 'credential-source', type: 'faulty', config: z.strictObject({}),
  async open() {
    return {
      credentialFor: async () => {
        setTimeout(() => { throw new Error('thrown in an event'); });
        return undefined;
      },
      close: async () => {},
    };
  },
};
`;
