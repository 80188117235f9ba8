import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ServiceReport } from '../../src/bin/image-service/service-report.js';
import { lastFirst, type Scope, until } from '../harness/index.js';
import { ImageNode } from './image-node.js';
import { adminPage, serveImages } from './image-service.js';

// The image service where something is not as it should be: no pod waits for what it does not need.

const rule = (match = 'docker.example.com/**') =>
  `[{ match: "${match}", credentials: { type: static, username: robot, password: { file: password } } }]`;

async function start(t: Scope, settings: Readonly<Record<string, string>> = {}, password = 'hunter2') {
  const scope = lastFirst(t);
  const node = await ImageNode.open(scope);
  if (password !== '') node.write('password', password);
  const served = await serveImages(scope, node.configure({ images: rule(), ...settings }));
  const report = async () => JSON.parse((await adminPage(node.adminSocket, '/pulls')).body) as ServiceReport;
  const usable = async () => / ?image_rule_credential_usable\{[^}]*\} (\d)/.exec(await served.metrics())?.[1];
  const shown = () => node.pulls.at(-1)?.auth?.username;
  return { node, ...served, report, usable, shown };
}

describe('a rule whose secret file is not there', () => {
  for (const pattern of ['docker.example.com/**', '*.example.com/**']) {
    test(`${pattern}: pulls go on without it, and it is told`, async (t) => {
      const { node, report, usable, shown, logLines } = await start(t, { images: rule(pattern) }, '');
      const isTold = ({ level, reason }: { level?: unknown; reason?: unknown }) =>
        level === 'error' && /^images\[0\]\.credentials.*password/.test(String(reason));
      assert.ok(logLines().some(isTold), JSON.stringify(logLines()));
      const { result, reason } = (await report()).rules[0]?.credential ?? {};
      assert.equal(result, 'failed');
      assert.match(String(reason), /password/);
      assert.equal(await usable(), '0');
      assert.equal(await node.pull('docker.example.com/app'), 0);
      assert.equal(shown(), undefined);
    });
  }

  test('it is opened when a pull wants it', async (t) => {
    const { node, shown, usable } = await start(t, {}, '');
    await node.pull('docker.example.com/app');
    node.write('password', 'hunter2');
    await until('it is shown', async () => {
      await node.pull('docker.example.com/app');
      return shown() === 'robot';
    });
    assert.equal(await usable(), '1');
  });

  test('it is opened when its file appears, and let go when it has gone', async (t) => {
    const { node, reload, report, shown } = await start(t, {}, '');
    node.write('password', 'hunter2');
    await reload();
    await node.pull('docker.example.com/app');
    assert.equal(shown(), 'robot');
    rmSync(join(node.directory, 'password'));
    await reload();
    assert.equal(await node.pull('docker.example.com/app'), 0);
    assert.equal(shown(), undefined);
    assert.equal((await report()).rules[0]?.credential?.result, 'failed');
  });
});

test('an audit log that cannot be opened is told, its lines are counted, and it is tried again', async (t) => {
  const { node, metrics, logLines } = await start(t, { audit: '{ file: logs/audit.jsonl }' });
  assert.ok(
    logLines().some(({ level, file }) => level === 'error' && String(file).endsWith('audit.jsonl')),
    JSON.stringify(logLines()),
  );
  assert.equal(await node.pull('docker.example.com/app'), 0);
  await until('its loss is counted', async () => /audit_lines_lost_total\{[^}]*\} 1/.test(await metrics()));
  mkdirSync(join(node.directory, 'logs'));
  const file = join(node.directory, 'logs', 'audit.jsonl');
  await until('it is written', async () => {
    await node.pull('docker.example.com/app');
    return existsSync(file) && readFileSync(file, 'utf8').includes('docker.example.com/app');
  });
});

for (const pattern of ['docker.example.com/**', '*.example.com/**']) {
  test(`${pattern}: a refusal is seen until what the source gives is taken`, async (t) => {
    const { node, report, usable } = await start(t, { images: rule(pattern) });
    node.failure = { status: 2, message: 'unexpected status: 401 Unauthorized' };
    await node.pull('docker.example.com/app');
    assert.equal((await report()).rules[0]?.refused?.registry, 'docker.example.com');
    assert.equal(await usable(), '0');
    node.failure = undefined;
    await node.pull('docker.example.com/app');
    assert.equal((await report()).rules[0]?.refused, undefined);
    assert.equal(await usable(), '1');
  });
}

test('a runtime without a CRI image service is not ready, and it is told what to do', async (t) => {
  const { node, report, logLines } = await start(t);
  node.failure = { status: 12, message: 'unknown service runtime.v1.ImageService' };
  const todo = /serves no CRI image service: take `cri` out of `disabled_plugins`/;
  await until('it is not ready', async () => (await adminPage(node.adminSocket, '/readyz')).status === 503);
  assert.match((await adminPage(node.adminSocket, '/readyz')).body, todo);
  const { connected, problem } = (await report()).runtime;
  assert.equal(connected, true);
  assert.match(String(problem), todo);
  assert.equal(logLines().filter(({ message }) => todo.test(String(message))).length, 1);
  await node.pull('docker.example.com/app');
  assert.match(String((await report()).recent[0]?.error), todo);
  node.failure = undefined;
  await until('it is ready', async () => (await adminPage(node.adminSocket, '/readyz')).status === 200);
});

test('a pull that our own stop has cut is not told as given up by kubelet', async (t) => {
  const { node, service, logLines } = await start(t, { drainTimeout: '100ms' });
  t.after(node.hold());
  const pulling = node.pull('docker.example.com/a');
  await until('it runs', () => node.pulls.length === 1);
  await service.stop();
  await pulling;
  const told = logLines().find(({ message }) => message === 'a pull was given up');
  assert.match(String(told?.error), /^given up after [\d.]+ s: kubelet-image-service was stopped$/);
});

test('another place to listen at is the only thing that waits for a restart', async (t) => {
  const { node, reload, logLines } = await start(t);
  node.configure({ images: rule(), listen: `unix://${node.directory}/other/image.sock` });
  await reload();
  assert.deepEqual(logLines().find(({ settings }) => settings !== undefined)?.settings, ['listen']);
});
