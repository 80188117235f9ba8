import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { addImageServiceCommands } from '../../src/bin/image-service/commands.js';
import { lastFirst, type Scope, until } from '../harness/index.js';
import type { Ended } from './checking.js';
import { ImageNode } from './image-node.js';
import { serveImages } from './image-service.js';
import { runInProcess } from './in-process.js';

const run = (...args: readonly string[]): Promise<Ended> => runInProcess(addImageServiceCommands, args);

/** Lets a server listen at a socket of the node's until the end. */
async function listen(scope: Scope, server: Server, path: string): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  scope.after(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return path;
}

describe('probe', () => {
  const mountpoint = { fsId: { mountpoint: '/var/lib/images' } };
  const usedBytes = { usedBytes: { value: 0n } };
  const cases: readonly (readonly [
    what: string,
    imageFilesystems: ImageNode['fsInfo']['imageFilesystems'],
    fine: boolean,
  ])[] = [
    ['a filesystem', [{ ...mountpoint, ...usedBytes }], true],
    ['several', [{ ...mountpoint, ...usedBytes }, {}], true],
    ['none', [], false],
    ['one without used_bytes', [mountpoint], false],
    ['one without a mountpoint', [{ ...usedBytes, fsId: {} }], false],
    ['one without an id', [usedBytes], false],
    ['one that is second', [{}, { ...mountpoint, ...usedBytes }], false],
  ];
  for (const [what, imageFilesystems, fine] of cases) {
    test(`${what}: ${fine ? 'kubelet can work with it' : 'kubelet would crash'}`, async (t) => {
      const node = await ImageNode.open(lastFirst(t));
      node.fsInfo = { imageFilesystems: imageFilesystems ?? [] };
      const ended = await run('probe', '--endpoint', `unix://${node.runtime.path}`);
      assert.equal(ended.code, fine ? 0 : 1, ended.stderr);
      assert.match(ended.stderr, fine ? /^$/ : /^unix:\/\/.*used_bytes and a mountpoint.*\n$/);
      assert.equal(ended.stdout, '');
    });
  }

  test('through a service that serves', async (t) => {
    const scope = lastFirst(t);
    const node = await ImageNode.open(scope);
    await serveImages(scope, node.configure());
    assert.equal((await run('probe', '--endpoint', `unix://${node.socket}`)).code, 0);
  });

  test('a runtime that is not there yet', async (t) => {
    const scope = lastFirst(t);
    const node = await ImageNode.open(scope, false);
    await serveImages(scope, node.configure());
    const ended = await run('probe', '--endpoint', `unix://${node.socket}`, '--timeout', '200ms');
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /^[^\n]+\n$/);
  });

  test('a service that begins while it is asked, and a runtime that begins after it', async (t) => {
    const scope = lastFirst(t);
    const node = await ImageNode.open(scope, false);
    const probing = run('probe', '--endpoint', `unix://${node.socket}`, '--timeout', '1m');
    const runtime = `{ type: cri, endpoint: "unix://${node.runtime.path}", patience: 100ms }`;
    const { metrics } = await serveImages(scope, node.configure({ runtime }));
    const refused = /cri_calls_total\{method="ImageFsInfo",code="UNAVAILABLE"\} [1-9]/;
    await until('it was told that there is no runtime', async () => refused.test(await metrics()));
    await node.runtime.listen();
    assert.deepEqual(await probing, { code: 0, stdout: '', stderr: '' });
  });

  const silent = () => createServer(() => {});
  for (const [what, server, expected] of [
    ['nobody', undefined, /no socket/],
    ['somebody silent', silent, /did not answer within 0\.2s/],
    ['no HTTP/2', () => createServer((socket) => socket.end('hello\n').on('error', () => {})), /unix:/],
  ] as const) {
    test(`${what} at the endpoint`, async (t) => {
      const scope = lastFirst(t);
      const node = await ImageNode.open(scope, false);
      const path = join(node.directory, 'x.sock');
      if (server !== undefined) await listen(scope, server(), path);
      const ended = await run('probe', '--endpoint', `unix://${path}`, '--timeout', '200ms');
      assert.equal(ended.code, 1);
      assert.match(ended.stderr, expected);
      assert.equal(ended.stderr.trim().split('\n').length, 1, ended.stderr);
    });
  }

  for (const args of [
    [],
    ['--endpoint', '/run/x.sock'],
    ['--endpoint', 'unix:///x', '--timeout', '5'],
    ['--endpoint', 'unix:///x', '--timeout', '0s'],
    ['--endpoint', 'unix:///x', '--timeout', '1h'],
  ]) {
    test(`wrong usage: ${args.join(' ')}`, async () => {
      const ended = await run('probe', ...args);
      assert.equal(ended.code, 2);
      assert.match(ended.stderr, /--(endpoint|timeout)/);
    });
  }
});

describe('status', () => {
  test('by a configuration and by an endpoint, as a table and as JSON', async (t) => {
    const scope = lastFirst(t);
    const node = await ImageNode.open(scope);
    const file = node.configure();
    await serveImages(scope, file);
    assert.equal(await node.pull('a.example.com/app'), 0);
    const table = await run('status', '--config', file);
    assert.equal(table.code, 0, table.stderr);
    assert.match(table.stdout, /^runtime: cri unix:\/\/.*, connected$/m);
    assert.match(table.stdout, /^ok +a\.example\.com\/app +shop\/web-0 +none /m);
    const json = await run('status', '--endpoint', `unix://${node.adminSocket}`, '--json');
    assert.equal(JSON.parse(json.stdout).recent[0].image, 'a.example.com/app');
  });

  const other = (status: number, body: string) => () =>
    createHttpServer((_, response) => response.writeHead(status).end(body));
  for (const [what, server, expected] of [
    ['nobody', undefined, /there is no such socket: is kubelet-image-service running\?/],
    ['an HTTP server', other(200, 'hello'), /another program listens there/],
    ['one that has no such page', other(404, '{}'), /another program listens there/],
    [
      'one that speaks JSON',
      other(200, '{"running":[],"recent":[],"rules":[]}'),
      /another program listens there/,
    ],
    [
      'no HTTP server',
      () => createServer((socket) => socket.end('hello\n')),
      /another program listens there/,
    ],
    [
      'one that cuts the connection',
      () => createServer((socket) => socket.destroy()),
      /the connection was cut/,
    ],
  ] as const) {
    test(`${what} at the endpoint`, async (t) => {
      const scope = lastFirst(t);
      const node = await ImageNode.open(scope, false);
      const path = join(node.directory, 'x.sock');
      if (server !== undefined) await listen(scope, server(), path);
      const ended = await run('status', '--endpoint', `unix://${path}`);
      assert.equal(ended.code, 1);
      assert.match(ended.stderr, expected);
      assert.equal(ended.stderr.trim().split('\n').length, 1, ended.stderr);
    });
  }

  test("kubelet's socket is not the one for operators", async (t) => {
    const scope = lastFirst(t);
    const node = await ImageNode.open(scope);
    await serveImages(scope, node.configure());
    const ended = await run('status', '--endpoint', `unix://${node.socket}`);
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /expected its admin\.socket\n$/);
  });

  test('a socket that is not for this user', async (t) => {
    const scope = lastFirst(t);
    const node = await ImageNode.open(scope);
    await serveImages(scope, node.configure());
    const status = () => run('status', '--endpoint', `unix://${node.adminSocket}`);
    assert.equal((await status()).code, 0, 'and all that the command needs is loaded now');
    chmodSync(node.adminSocket, 0);
    const ended = await asNobody(status);
    assert.match(ended.stderr, /this user may not connect to it/);
  });

  test('a configuration that is bad', async (t) => {
    const node = await ImageNode.open(lastFirst(t));
    const ended = await run('status', '--config', node.configure({ images: '1' }));
    assert.equal(ended.code, 2);
    assert.match(ended.stderr, /config\.yaml:4:9: images: /);
  });

  for (const args of [
    ['--endpoint', 'x'],
    ['--endpoint', 'unix:///x', '--config', 'x'],
  ]) {
    test(`wrong usage: ${args.join(' ')}`, async () => {
      assert.equal((await run('status', ...args)).code, 2);
    });
  }
});

describe('check', () => {
  test('a good configuration, with what is likely a mistake', async (t) => {
    const node = await ImageNode.open(lastFirst(t), false);
    const file = node.configure({ socketMode: "'0666'" });
    const ended = await run('check', '--config', file);
    assert.deepEqual([ended.code, ended.stdout], [0, `${file}: fine\n`]);
    assert.match(ended.stderr, /^warning: .*config\.yaml:4:13: socketMode: '0666': [^\n]+\n$/);
    assert.equal(node.runtime.calls.length, 0);
  });

  test('a configuration that others may write', async (t) => {
    const node = await ImageNode.open(lastFirst(t), false);
    const file = node.configure();
    chmodSync(file, 0o666);
    const ended = await run('check', '--config', file);
    assert.deepEqual([ended.code, ended.stdout], [0, `${file}: fine\n`]);
    assert.match(
      ended.stderr,
      /^warning: \S+config\.yaml:1:1: '0666': others than the owner may write: [^\n]+\n$/,
    );
  });

  test('a configuration for the credential provider alone', async (t) => {
    const node = await ImageNode.open(lastFirst(t), false);
    node.write('provider.yaml', 'images: []\n');
    const file = join(node.directory, 'provider.yaml');
    const ended = await run('check', '--config', file);
    assert.deepEqual(
      [ended.code, ended.stdout],
      [0, `${file}: fine for credential-provider; serve needs runtime\n`],
    );
    assert.match(ended.stderr, /^warning: \S+provider\.yaml:1:1: runtime: is missing: [^\n]+\n$/);
  });

  test('all sources that cannot be opened', async (t) => {
    const node = await ImageNode.open(lastFirst(t), false);
    node.write('key.json', '{}');
    const rule = (host: string) =>
      `{ match: ${host}/**, credentials: { type: gcp, keyFile: key.json, registryHosts: [${host}] } }`;
    const ended = await run(
      'check',
      '--config',
      node.configure({ images: `[${rule('a.io')}, ${rule('b.io')}]` }),
    );
    assert.equal(ended.code, 2);
    assert.deepEqual(ended.stderr.match(/images\[\d\]\.credentials\.keyFile/g), [
      'images[0].credentials.keyFile',
      'images[1].credentials.keyFile',
    ]);
  });
});

describe('help', () => {
  for (const command of ['serve', 'check', 'schema', 'probe', 'status']) {
    test(`${command} has an example`, async () => {
      const ended = await run(command, '--help');
      assert.equal(ended.code, 0);
      assert.match(ended.stdout, new RegExp(`Examples?[^\\n]*:\\n.*kubelet-image-service ${command}`));
    });
  }

  test('schema prints a JSON Schema', async () => {
    const { stdout } = await run('schema');
    const { properties } = JSON.parse(stdout);
    assert.deepEqual(
      properties.runtime.anyOf.map(({ title }: { title: string }) => title),
      ['cri', 'docker', 'module'],
    );
  });
});

/** As another user than root, who may all. */
async function asNobody<T>(step: () => Promise<T>): Promise<T> {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    return await step();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}
