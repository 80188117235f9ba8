import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ServiceReport } from '../../src/bin/image-service/service-report.js';
import { ScriptedEngine } from '../../src/testing/scripted-engine.js';
import { lastFirst, type Scope, until } from '../harness/index.js';
import { ImageNode } from './image-node.js';
import { adminPage, serveImages } from './image-service.js';

// The image service in this process, before a container runtime that answers as the test says.

const rule = (username: string) =>
  `[{ match: docker.example.com/**, credentials: { type: static, username: ${username}, password: { file: password } } }]`;

async function start(t: Scope, settings: Readonly<Record<string, string>> = {}) {
  const scope = lastFirst(t);
  const node = await ImageNode.open(scope);
  node.write('password', 'hunter2');
  const served = await serveImages(scope, node.configure({ images: rule('robot'), ...settings }));
  const report = async () => JSON.parse((await adminPage(node.adminSocket, '/pulls')).body) as ServiceReport;
  return { node, ...served, report };
}

test('an image is pulled with the credential of its rule, and operators see it', async (t) => {
  const { node, report, metrics, logLines } = await start(t);
  const release = node.hold();
  const pulling = node.pull('docker.example.com/shop/app:1');
  await until('it runs', async () => (await report()).running[0]?.state === 'pulling');
  const [running] = (await report()).running;
  assert.equal(running?.image, 'docker.example.com/shop/app:1');
  assert.deepEqual(running?.pod, { namespace: 'shop', name: 'web-0', uid: 'u-1' });
  assert.equal(running?.source, 'static');
  release();
  assert.equal(await pulling, 0);
  assert.equal(node.pulls[0]?.auth?.username, 'robot');
  const { rules, recent, runtime } = await report();
  assert.deepEqual(runtime, { type: 'cri', endpoint: `unix://${node.runtime.path}`, connected: true });
  assert.equal(recent[0]?.state, 'ok');
  assert.equal(rules[0]?.credential?.result, 'obtained');
  const printed = await metrics();
  assert.match(
    printed,
    /^kubelet_image_service_image_rule_credential_fetches_total\{rule="docker\.example\.com\/\*\*",result="obtained"\} 1$/m,
  );
  const everything = JSON.stringify([logLines(), await report(), printed]);
  assert.doesNotMatch(everything, /hunter2/);
});

test('another image is pulled as it was asked for', async (t) => {
  const { node } = await start(t);
  assert.equal(await node.pull('other.example.com/app'), 0);
  assert.equal(node.pulls[0]?.auth, undefined);
});

test('the log tells at the start which files others may write or read', async (t) => {
  const scope = lastFirst(t);
  const node = await ImageNode.open(scope);
  node.write('password', 'hunter2');
  const file = node.configure({ images: rule('robot') });
  chmodSync(file, 0o622);
  chmodSync(join(node.directory, 'password'), 0o604);
  const told = (await serveImages(scope, file)).logLines().filter(({ level }) => level === 'warn');
  assert.equal(told.length, 1);
  const warnings = told.flatMap((line) => line.warnings as readonly string[]);
  assert.match(warnings[0] ?? '', /^\S+config\.yaml:1:1: '0622': others than the owner may write/);
  assert.match(warnings[1] ?? '', /password\.file: password may be read by everybody/);
});

describe('the sockets', () => {
  test('are for their owner alone, and gone afterwards', async (t) => {
    const { node, service } = await start(t);
    for (const [path, mode] of [
      [join(node.directory, 'run'), 0o700],
      [node.socket, 0o600],
      [node.adminSocket, 0o600],
    ] as const) {
      assert.equal(statSync(path).mode & 0o777, mode, path);
    }
    await service.stop();
    assert.deepEqual([node.socket, node.adminSocket].filter(existsSync), []);
  });

  test('a second instance leaves the first one alone', async (t) => {
    const { node, report } = await start(t);
    await assert.rejects(serveImages(t, join(node.directory, 'config.yaml')), /image\.sock/);
    assert.equal(await node.pull('docker.example.com/app'), 0);
    assert.equal((await report()).recent.length, 1);
  });

  test("a taken socket of operators ends the start, and kubelet's is not left behind", async (t) => {
    const { node } = await start(t);
    const other = join(node.directory, 'other.sock');
    const settings = { listen: `unix://${other}`, admin: `{ socket: "unix://${node.adminSocket}" }` };
    await assert.rejects(serveImages(t, node.configure(settings)), /admin\.sock/);
    assert.equal(existsSync(other), false, 'it is still there');
  });

  test('a taken port of operators does not end the start', async (t) => {
    const { service } = await start(t, { admin: '{ listen: "127.0.0.1:0" }' });
    const listen = `127.0.0.1:${service.adminAddress?.port}`;
    const second = await start(t, { admin: `{ listen: "${listen}" }` });
    assert.equal(await second.node.pull('docker.example.com/app'), 0);
    assert.ok(
      second.logLines().some(({ reason }) => String(reason).includes('EADDRINUSE')),
      'it is not told',
    );
  });
});

describe('what operators ask', () => {
  test('a service without its runtime lives, and is not ready', async (t) => {
    const scope = lastFirst(t);
    const node = await ImageNode.open(scope, false);
    await serveImages(scope, node.configure());
    const ask = (path: string) => adminPage(node.adminSocket, path);
    assert.deepEqual(await ask('/livez'), { status: 200, body: 'ok\n' });
    assert.deepEqual(await ask('/readyz'), { status: 503, body: 'the container runtime does not answer\n' });
    await node.runtime.listen();
    await until('it is ready', async () => (await ask('/readyz')).status === 200);
    await node.runtime.kill();
    await until('it is not any more', async () => (await ask('/readyz')).status === 503);
  });

  test('a Docker Engine that ends is not ready at once, whatever it said before', async (t) => {
    const scope = lastFirst(t);
    const node = await ImageNode.open(scope, false);
    const engine = await new ScriptedEngine().listen();
    scope.after(() => engine.close());
    const runtime = `{ type: docker, endpoint: "unix://${engine.path}" }`;
    await serveImages(scope, node.configure({ runtime }));
    const ask = (path: string) => adminPage(node.adminSocket, path);
    const connected = async () =>
      /^kubelet_image_service_runtime_connected (\d)$/m.exec((await ask('/metrics')).body)?.[1];
    assert.equal(await connected(), '1');
    assert.deepEqual(await ask('/readyz'), { status: 200, body: 'ok\n' });
    await engine.stop();
    await until('it is not any more', async () => (await ask('/readyz')).status === 503);
    assert.equal(await connected(), '0');
    await engine.listen();
    await until('it is again', async () => (await ask('/readyz')).status === 200);
    assert.equal(await connected(), '1');
  });

  test('the address for metrics does not tell of pods', async (t) => {
    const { service } = await start(t, { admin: '{ listen: "127.0.0.1:0" }' });
    const url = `http://127.0.0.1:${service.adminAddress?.port}`;
    const statuses = await Promise.all(
      ['/livez', '/metrics', '/pulls'].map(async (path) => {
        const answer = await fetch(`${url}${path}`);
        await answer.arrayBuffer();
        return answer.status;
      }),
    );
    assert.deepEqual(statuses, [200, 200, 404]);
  });
});

describe('a reload', () => {
  test('a pull that runs ends as it began, and the next one has the new credential', async (t) => {
    const { node, reload, logLines, report } = await start(t);
    const release = node.hold();
    const earlier = node.pull('docker.example.com/a');
    await until('it runs', () => node.pulls.length === 1);
    node.configure({ images: rule('another') });
    await reload();
    assert.ok(
      logLines().some(({ message }) => message === 'configuration reloaded'),
      JSON.stringify(logLines()),
    );
    assert.equal((await report()).running.length, 1, 'a reload forgets no pull');
    const later = node.pull('docker.example.com/b');
    await until('the next one runs', () => node.pulls.length === 2);
    release();
    assert.deepEqual(await Promise.all([earlier, later]), [0, 0]);
    assert.deepEqual(
      node.pulls.map(({ auth }) => auth?.username),
      ['robot', 'another'],
    );
  });

  test('what a file of a source holds is taken over', async (t) => {
    const { node, reload } = await start(t);
    node.write('password', 'another');
    await reload();
    assert.equal(await node.pull('docker.example.com/a'), 0);
    assert.equal(node.pulls[0]?.auth?.password, 'another');
  });

  test('a bad configuration changes nothing', async (t) => {
    const { node, reload, logLines } = await start(t);
    node.configure({ images: '[{ match: docker.example.com }]', credentialTimeout: '1h' });
    await reload();
    const told = logLines().find(({ level }) => level === 'error');
    assert.ok(Array.isArray(told?.problems) && told.problems.length === 3, JSON.stringify(told));
    assert.equal(await node.pull('docker.example.com/a'), 0);
    assert.equal(node.pulls[0]?.auth?.username, 'robot');
  });

  test('a configuration without a runtime is none to serve by', async (t) => {
    const { node, reload, logLines } = await start(t);
    node.write('config.yaml', `listen: unix://${node.socket}\n`);
    await reload();
    const told = logLines().find(({ level }) => level === 'error');
    assert.match(String(told?.problems), /config\.yaml:1:1: runtime: is missing; serve needs it/);
    assert.equal(await node.pull('docker.example.com/app'), 0);
  });

  test('sockets and runtime stay as they are, and it is told', async (t) => {
    const { node, reload, logLines } = await start(t);
    node.configure({
      images: rule('another'),
      listen: `unix://${node.directory}/run/other.sock`,
      socketMode: "'0660'",
      directoryMode: "'0750'",
      runtime: '{ type: cri, endpoint: unix:///run/another.sock }',
      admin: '{ listen: "127.0.0.1:0" }',
      drainTimeout: '1s',
    });
    await reload();
    const told = logLines().find(({ settings }) => settings !== undefined);
    assert.deepEqual(told?.settings, ['listen', 'socketMode', 'directoryMode', 'runtime', 'admin']);
    assert.equal(await node.pull('docker.example.com/a'), 0);
    assert.equal(node.pulls[0]?.auth?.username, 'another');
  });

  test('a pull that runs is audited where it began', async (t) => {
    const { node, reload } = await start(t, { audit: '{ file: first.jsonl }' });
    const release = node.hold();
    const pulling = node.pull('docker.example.com/a');
    await until('it runs', () => node.pulls.length === 1);
    node.configure({ images: rule('robot'), audit: '{ file: second.jsonl }' });
    await reload();
    release();
    await pulling;
    const first = join(node.directory, 'first.jsonl');
    await until('it is audited', () => readFileSync(first, 'utf8').includes('docker.example.com/a'));
  });

  test('the audit log is opened anew', async (t) => {
    const { node, reload } = await start(t, { audit: '{ file: audit.jsonl }' });
    const file = join(node.directory, 'audit.jsonl');
    const images = (path: string) =>
      existsSync(path)
        ? [...readFileSync(path, 'utf8').matchAll(/"image":"([^"]+)"/g)].map(([, name]) => name)
        : [];
    await node.pull('docker.example.com/a');
    await until('it is audited', () => images(file).length === 1);
    renameSync(file, `${file}.1`);
    await reload();
    await node.pull('docker.example.com/b');
    await until('it is audited', () => images(file).length === 1);
    assert.deepEqual(
      [images(`${file}.1`), images(file)],
      [['docker.example.com/a'], ['docker.example.com/b']],
    );
  });
});

describe('the stop', () => {
  test('running pulls finish, and calls are served meanwhile', async (t) => {
    const { node, service } = await start(t);
    const release = node.hold();
    const first = node.pull('docker.example.com/a');
    await until('it runs', () => node.pulls.length === 1);
    const stopped = service.stop();
    assert.deepEqual(await adminPage(node.adminSocket, '/readyz'), { status: 503, body: 'draining\n' });
    const second = node.pull('docker.example.com/b');
    await until('the second one runs', () => node.pulls.length === 2);
    release();
    assert.deepEqual(await Promise.all([first, second]), [0, 0]);
    await stopped;
    assert.equal(existsSync(node.socket), false, 'the socket is still there');
  });

  test('what does not finish in time is cut, and told', async (t) => {
    const { node, service, logLines } = await start(t, { drainTimeout: '100ms' });
    const release = node.hold();
    t.after(release);
    const pulling = node.pull('docker.example.com/a');
    await until('it runs', () => node.pulls.length === 1);
    await service.stop();
    assert.notEqual(await pulling, 0);
    assert.ok(
      logLines().some(({ calls }) => calls === 1),
      JSON.stringify(logLines()),
    );
  });
});
