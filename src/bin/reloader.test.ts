import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadConfiguration } from '../config/load.js';
import { FakeLog, FakeMetrics } from '../testing/index.js';
import { Reloader } from './reloader.js';

const settings = (prefix: string) =>
  `upstreams: { one: { url: "http://127.0.0.1:1" } }\nroutes: [{ prefix: ${prefix}, upstream: one }]\n` +
  'policy: []\nexternalUrl: http://127.0.0.1:5000\nverifiers: [{ id: all, type: anonymous }]\n';

/** A proxy that takes no other configuration, and lets `meanwhile` happen before it says so. */
async function start(t: TestContext, meanwhile: (file: string) => void) {
  const directory = mkdtempSync(join(tmpdir(), 'reloader-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'proxy.yaml');
  writeFileSync(file, settings('a/'));
  const loaded = await loadConfiguration(file);
  assert.ok('configuration' in loaded, JSON.stringify(loaded));
  writeFileSync(file, settings('b/'));
  const log = new FakeLog();
  const reload = async () => {
    meanwhile(file);
    throw new Error('it cannot be opened');
  };
  const served = { configuration: loaded.configuration, reload };
  const reloader = new Reloader({ served, load: loadConfiguration, log, metrics: new FakeMetrics() });
  t.after(() => reloader.close());
  return { reloader, log };
}

const write = (file: string) => writeFileSync(file, settings('longer/'));

test('what is bad is told', async (t) => {
  const { reloader, log } = await start(t, () => {});
  await reloader.reload('file');
  assert.equal(log.at('error').length, 1);
});

test('what was read while somebody was writing is not told: it was half of it', async (t) => {
  const { reloader, log } = await start(t, write);
  await reloader.reload('file');
  assert.deepEqual(log.entries, []);
});

test('on a signal it is told even so', async (t) => {
  const { reloader, log } = await start(t, write);
  await reloader.reload('signal');
  assert.equal(log.at('error').length, 1);
});

test('a file that never rests is told even so', async (t) => {
  const { reloader, log } = await start(t, write);
  await reloader.reload('file', true);
  assert.equal(log.at('error').length, 1);
});
