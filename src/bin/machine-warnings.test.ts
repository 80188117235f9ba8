import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { loadConfiguration } from '../config/load.js';
import { machineWarnings } from './machine-warnings.js';

const directory = mkdtempSync(join(tmpdir(), 'machine-warnings-'));
after(() => rmSync(directory, { recursive: true }));
mkdirSync(join(directory, 'certificates'));
const account = '123456789012';
const sts = (id: string, ...audiences: readonly string[]) => ({
  ...{ id, type: 'aws-sts', accounts: [account], audiences },
});
const ec2 = (id: string, more: object = {}) => ({
  ...{ id, type: 'aws-identity', accounts: [account], certificates: 'certificates', ...more },
});

async function warnings(verifiers: readonly object[], state: object = { type: 'file', path: 'state' }) {
  const file = join(directory, 'proxy.yaml');
  const settings = {
    ...{ externalUrl: 'http://docker.test', upstreams: { one: { url: 'http://127.0.0.1:1' } } },
    ...{ routes: [{ prefix: '', upstream: 'one' }], policy: [], verifiers, state },
  };
  writeFileSync(file, JSON.stringify(settings)); // JSON is YAML
  const loaded = await loadConfiguration(file);
  assert.ok('configuration' in loaded, JSON.stringify(loaded));
  return machineWarnings(loaded.configuration);
}

describe('warnings about verifiers of machines', () => {
  const gcp = { id: 'gce', type: 'gcp-identity', projects: ['acme-build'], audiences: ['a'] };

  test('none where each has its own machines', async () => {
    assert.deepEqual(await warnings([sts('aws', 'a'), sts('other', 'b'), gcp, ec2('ec2')]), []);
  });

  test('two for the same audience, and two that have none', async () => {
    const [first, second, ...more] = await warnings([
      sts('aws', 'a', 'b'),
      ec2('ec2'),
      sts('aws2', 'b', 'c'),
      ec2('ec3'),
    ]);
    assert.match(first ?? '', /^verifiers\[2\]: it is not asked about what aws refuses/);
    assert.match(second ?? '', /^verifiers\[3\]: it is not asked about what ec2 refuses/);
    assert.deepEqual(more, []);
  });

  test('bindings of documents that a restart forgets', async () => {
    const [said, ...more] = await warnings([ec2('ec2')], {
      type: 'memory',
    });
    assert.match(said ?? '', /^verifiers\[0\]: the state is in memory/);
    assert.deepEqual(more, []);
    assert.deepEqual(await warnings([ec2('unbound', { firstUse: 'none' })], { type: 'memory' }), []);
  });
});
