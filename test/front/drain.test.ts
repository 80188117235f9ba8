import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { digestOf } from '../../src/reference/digest.js';
import { generatedBlob, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import {
  basic,
  type Front,
  passwords,
  reloadOf,
  send,
  settingsFor,
  startFront,
  takeOver,
  until,
} from '../harness/index.js';

const manifest = '/v2/team/app/manifests/1';
const authorization = basic('alice', passwords.alice);

async function start(t: TestContext, settings: Readonly<Record<string, string>>) {
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  registry.putImage('team/app', '1', tinyImageFor('amd64', 'hello'));
  // More than all buffers between an upstream and a client that does not read.
  const blob = await generatedBlob(24 * 1024 * 1024);
  registry.putBlob('team/app', blob);
  const front = await startFront(t, settingsFor(registry.url, settings));
  return { registry, front, blob };
}

const readiness = async (front: Front) => (await send(front.adminPort, '/readyz')).status;

async function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** Begins a download, and reads none of it. */
async function beginDownload(
  t: TestContext,
  front: Front,
  path: string,
  agent?: Agent,
): Promise<IncomingMessage> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { host: 'docker.test', authorization };
    const options = { host: '127.0.0.1', port: front.port, path, agent: agent ?? false, headers };
    httpRequest(options, resolve).on('error', reject).end();
  });
  t.after(() => void answer.destroy());
  return answer;
}

/** @returns how many bytes came, and whether those were all */
async function readAll(
  answer: IncomingMessage,
): Promise<{ readonly bytes: number; readonly whole: boolean }> {
  let bytes = 0;
  answer.on('data', (piece: Buffer) => {
    bytes += piece.length;
  });
  answer.on('error', () => undefined);
  await new Promise((resolve) => answer.once('close', resolve));
  return { bytes, whole: answer.complete };
}

describe('a proxy that is told to stop', () => {
  test('takes new requests for drainDelay, while it is not ready', async (t) => {
    const { front } = await start(t, { drainDelay: '1s' });
    assert.equal(await readiness(front), 200);
    let isStopped = false;
    const stopping = front.stop().then(() => {
      isStopped = true;
    });
    assert.equal(await readiness(front), 503);
    assert.equal((await send(front.adminPort, '/livez')).status, 200);
    assert.equal((await front.sendAs('alice', manifest)).status, 200, 'over a new connection');
    assert.ok(!isStopped, 'it is not over yet');
    await stopping;
    assert.ok(!(await isListening(front.port)), 'the front is closed');
    assert.ok(!(await isListening(front.adminPort)), 'the admin server is closed');
  });

  test('lets transfers finish in both directions, and takes no new connection meanwhile', async (t) => {
    const { front, registry, blob } = await start(t, { drainTimeout: '30s' });
    const agent = new Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const download = await beginDownload(t, front, `/v2/team/app/blobs/${blob.digest}`, agent);
    const bytes = Buffer.alloc(1024 * 1024, 'pushed');
    const opened = await front.sendAs('alice', '/v2/team/app/blobs/uploads/', { method: 'POST' });
    const location = new URL(opened.headers.location ?? '', 'http://docker.test');
    location.searchParams.set('digest', digestOf(bytes));
    const body = new PassThrough();
    const headers = { 'content-length': String(bytes.length) };
    const put = front.sendAs('alice', location.pathname + location.search, { method: 'PUT', headers, body });
    body.write(bytes.subarray(0, 1000));
    await registry.waitFor(({ method }) => method === 'PUT');
    const stopping = front.stop();
    await until('no new connection is taken', async () => !(await isListening(front.port)));
    assert.equal(await readiness(front), 503);
    body.end(bytes.subarray(1000));
    assert.equal((await put).status, 201);
    assert.deepEqual(await readAll(download), { bytes: blob.size, whole: true });
    await stopping;
    assert.ok(!front.log().includes('requests cut'), 'nothing was cut');
  });

  test('cuts what is not finished in drainTimeout, and says so', async (t) => {
    const { front, registry, blob } = await start(t, {
      drainTimeout: '100ms',
      audit: '{ file: audit.jsonl }',
    });
    const download = await beginDownload(t, front, `/v2/team/app/blobs/${blob.digest}`);
    registry.faults.add({ path: '/manifests/slow' }, { delay: 60_000 });
    const slow = front.sendAs('alice', '/v2/team/app/manifests/slow').then(
      ({ status }) => status,
      () => 'cut',
    );
    await registry.waitFor(({ path }) => path.endsWith('/slow'));
    await front.stop();
    assert.equal(await slow, 'cut');
    assert.equal((await readAll(download)).whole, false);
    const line = await front.logLine(({ message }) => String(message).startsWith('requests cut'));
    assert.equal(line.requests, 2);
    // What was cut is written down before the logs are closed.
    const audited = readFileSync(join(front.directory, 'audit.jsonl'), 'utf8');
    assert.deepEqual(audited.match(/"result":"\w+"/g), ['"result":"failed"', '"result":"failed"'], audited);
    assert.equal(audited.match(/"reason":"cut by us: drainTimeout"/g)?.length, 2, audited);
  });

  test('with nothing going on ends without waiting for anything', async (t) => {
    const { front } = await start(t, { drainTimeout: '30s' });
    const agent = new Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const idle = await beginDownload(t, front, manifest, agent);
    idle.resume();
    await new Promise((resolve) => idle.once('end', resolve));
    await front.stop();
    assert.ok(!(await isListening(front.port)), 'the front is closed');
    assert.equal(front.proxy.openParts, 0);
  });

  test('stops once, however often it is told', async (t) => {
    const { front } = await start(t, { drainDelay: '100ms' });
    await Promise.all([front.stop(), front.stop()]);
    await front.stop();
    assert.equal(front.proxy.openParts, 0);
  });

  test('does not take another configuration any more', async (t) => {
    const { front, registry } = await start(t, { drainDelay: '1s' });
    const stopping = front.stop();
    for (const policy of ['[]', '[']) {
      front.configure(settingsFor(registry.url, { policy }));
      assert.deepEqual(await reloadOf(front), []);
    }
    await assert.rejects(front.proxy.reload(front.proxy.configuration), { name: 'StoppedError' });
    assert.equal((await front.sendAs('alice', manifest)).status, 200);
    await stopping;
    assert.equal(await front.metric('registry_proxy_configuration_last_reload_success'), 1);
  });

  test('leaves nothing open of a reload that it is told in the middle of', async (t) => {
    const { front, registry } = await start(t, {});
    const gate = gateOf(t);
    writeFileSync(join(front.directory, 'slow.mjs'), slowVerifier(gate.name));
    const verifiers = '[{ id: local, module: ./slow.mjs }]';
    front.configure(
      settingsFor(registry.url, { verifiers, upstreams: `{ one: { url: "${registry.url}/" } }` }),
    );
    const reloading = reloadOf(front);
    await gate.opening;
    const stopping = front.stop();
    await until('the front is closed', async () => !(await isListening(front.port)));
    assert.ok(front.proxy.openParts > 0, 'the new ones are open');
    gate.open();
    await stopping;
    assert.equal(front.proxy.openParts, 0);
    assert.deepEqual(await reloading, [], 'it is neither applied nor failed');
  });

  test('ends requests that a driver does not answer, those of earlier configurations too', async (t) => {
    const { front, registry } = await start(t, { drainTimeout: '50ms' });
    const gate = gateOf(t);
    writeFileSync(join(front.directory, 'slow.mjs'), slowVerifier(gate.name));
    const settings = { verifiers: '[{ id: local, module: ./slow.mjs }]', drainTimeout: '50ms' };
    gate.open();
    await takeOver(front, settingsFor(registry.url, settings));
    const stuck = front.sendAs('alice', manifest).catch(() => 'cut');
    await gate.asked;
    await takeOver(front, settingsFor(registry.url, { drainTimeout: '50ms' }));
    await front.stop();
    assert.equal(await stuck, 'cut');
    assert.equal(front.proxy.openParts, 0);
  });

  test('waits for the transfers of earlier configurations as well', async (t) => {
    const { front, registry, blob } = await start(t, { drainTimeout: '30s' });
    const download = await beginDownload(t, front, `/v2/team/app/blobs/${blob.digest}`);
    await takeOver(
      front,
      settingsFor(registry.url, {
        policy: '[]',
        drainTimeout: '30s',
        routes: '[{ prefix: x/, upstream: one }]',
      }),
    );
    const stopping = front.stop();
    assert.deepEqual(await readAll(download), { bytes: blob.size, whole: true });
    await stopping;
    assert.equal(front.proxy.openParts, 0);
  });

  test('has the drain times that the last reload gave it', async (t) => {
    const { front, registry, blob } = await start(t, { drainDelay: '10m', drainTimeout: '30s' });
    const download = await beginDownload(t, front, `/v2/team/app/blobs/${blob.digest}`);
    await takeOver(front, settingsFor(registry.url, { drainTimeout: '50ms' }));
    await front.stop();
    assert.equal((await readAll(download)).whole, false);
  });
});

test('an upstream that is down does not make a proxy unready', async (t) => {
  const { front, registry } = await start(t, {});
  await registry.close();
  assert.equal((await front.sendAs('alice', manifest)).status, 503);
  assert.equal(await readiness(front), 200);
});

interface Gate {
  readonly name: string;
  /** A verifier is being opened, and asked. */
  readonly opening: Promise<void>;
  readonly asked: Promise<void>;
  /** Lets it open. */
  open(): void;
}

/** What a test shares with the verifier below, which is a module of its own in this process. */
function gateOf(t: TestContext): Gate {
  const name = `gate of ${t.name}`;
  const shared: Record<string, unknown> = {};
  const promiseOf = (key: string) =>
    new Promise<void>((resolve) => {
      shared[key] = resolve;
    });
  const [opening, asked] = [promiseOf('isOpening'), promiseOf('isAsked')];
  const mayOpen = new Promise<void>((resolve) => {
    shared.open = resolve;
  });
  (globalThis as unknown as Record<string, unknown>)[name] = Object.assign(shared, { mayOpen });
  return { name, opening, asked, open: () => (shared.open as () => void)() };
}

/** Opens when it is told to, and never answers, whatever is aborted. */
function slowVerifier(gate: string): string {
  return `
import { z } from '${import.meta.resolve('zod')}';
const gate = globalThis['${gate}'];
export const driver = {
  apiVersion: 1, kind: 'verifier', type: 'slow', config: z.strictObject({}),
  async open() {
    gate.isOpening();
    await gate.mayOpen;
    return {
      verify: () => { gate.isAsked(); return new Promise(() => {}); },
      close: async () => {},
    };
  },
};
`;
}
