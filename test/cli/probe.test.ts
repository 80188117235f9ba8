import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { addProbeCommand } from '../../src/bin/probe.js';
import { adminHandler } from '../../src/http/admin.js';
import { runInProcess } from './in-process.js';

// `docker-registry-proxy probe`: what a container's health check runs.

const directory = mkdtempSync(join(tmpdir(), 'drp-probe-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const metrics = { print: async () => '', contentType: 'text/plain' };
const ready = adminHandler({ metrics, unready: () => undefined });

async function listen(t: TestContext, server: Server, host = '127.0.0.1'): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

function http(t: TestContext, handle: RequestListener): Server {
  const server = createServer(handle);
  t.after(() => server.closeAllConnections());
  return server;
}

/** A port nobody listens on. */
async function deadPort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

let written = 0;

function probe(configuration: string, ...more: readonly string[]) {
  const file = join(directory, `${++written}.yaml`);
  writeFileSync(file, configuration);
  return runInProcess(addProbeCommand, ['probe', '--config', file, ...more]);
}

/** What its admin address answers, and what `probe` then says. */
const answers: readonly (readonly [string, RequestListener, number, RegExp])[] = [
  ['ready', ready, 0, /^$/],
  [
    'draining',
    adminHandler({ metrics, unready: () => 'draining' }),
    1,
    /^http:\/\/127\.0\.0\.1:\d+\/readyz: 503 draining\n$/,
  ],
  ['another program', (_, response) => void response.writeHead(404).end('<h1>no</h1>'), 1, /readyz: 404\n$/],
  [
    'a program that talks much',
    (_, response) => void response.writeHead(503).end('x'.repeat(5000)),
    1,
    /readyz: 503\n$/,
  ],
  [
    'a program that cuts the connection',
    (request) => void request.socket.destroy(),
    1,
    /readyz: socket hang up\n$/,
  ],
];

for (const [name, handle, code, said] of answers) {
  test(`with admin: ${name}: ${code}`, async (t) => {
    const port = await listen(t, http(t, handle));
    const ended = await probe(`admin: { listen: "127.0.0.1:${port}" }\nlisten: 127.0.0.1:9\n`);
    assert.equal(ended.code, code, ended.stderr);
    assert.match(ended.stderr, said);
    assert.equal(ended.stdout, code === 0 ? 'ready\n' : '');
  });
}

test('asks the loopback address of what listens on all addresses', async (t) => {
  const port = await listen(t, http(t, ready));
  for (const host of ['0.0.0.0', '', '[::]']) {
    const ended = await probe(`admin: { listen: "${host}:${port}" }\n`);
    assert.deepEqual([ended.code, ended.stderr], [0, '']);
  }
});

test('does not wait longer than it may', async (t) => {
  const port = await listen(
    t,
    http(t, () => undefined),
  );
  const ended = await probe(`admin: { listen: "127.0.0.1:${port}" }\n`, '--timeout', '300ms');
  assert.equal(ended.code, 1);
  assert.match(ended.stderr, /readyz: no answer within 0\.3 s\n$/);
});

test('without admin: whether something listens', async (t) => {
  const port = await listen(
    t,
    createTcpServer((socket) => socket.destroy()),
  );
  assert.equal((await probe(`listen: "127.0.0.1:${port}"\n`)).code, 0);
  const dead = await deadPort();
  const ended = await probe(`listen: "127.0.0.1:${dead}"\n`);
  assert.deepEqual([ended.code, ended.stderr], [1, `127.0.0.1:${dead}: nobody listens there\n`]);
});

test('needs none of the secrets and files that the rest of the configuration names', async (t) => {
  const port = await listen(t, http(t, ready));
  const ended = await probe(
    `admin: { listen: "127.0.0.1:${port}" }\nverifiers: [{ id: a, type: htpasswd, file: absent }]\n`,
  );
  assert.deepEqual([ended.code, ended.stderr], [0, '']);
});

const refused: readonly (readonly [string, string, readonly string[], RegExp])[] = [
  ['no YAML', 'admin: [', [], /yaml/],
  ['an address that is none', 'admin: { listen: here }', [], /admin\.listen: expected an address and a port/],
  ['a port nobody can know', 'listen: 127.0.0.1:0', [], /listen: expected a port other than 0/],
  ['a time that is none', 'listen: 127.0.0.1:9', ['--timeout', 'soon'], /--timeout: expected a duration/],
];

for (const [name, configuration, more, said] of refused) {
  test(`refuses ${name}`, async () => {
    const ended = await probe(configuration, ...more);
    assert.equal(ended.code, 2, ended.stderr);
    assert.match(ended.stderr, said);
  });
}
