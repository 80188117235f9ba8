import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { parseRegistryHost } from '../reference/registry-host.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { describeCredentialSourceConformance } from '../testing/conformance/credential-source.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { driver as dockerConfig } from './docker-config.js';
import { driver as fixed } from './static.js';

const nothing = () => {};

function place(t: TestContext) {
  const baseDirectory = mkdtempSync(join(tmpdir(), 'source-'));
  t.after(() => rmSync(baseDirectory, { recursive: true }));
  return {
    write: (text: string) => writeFileSync(join(baseDirectory, 'file'), text),
    dependencies: {
      id: 'test',
      baseDirectory,
      clock: { now: () => Date.now() },
      log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
      metrics: new FakeMetrics(),
    },
  };
}

const repository = (host: string) => ({
  registry: parseRegistryHost(host),
  name: parseRepositoryName('team/app'),
});

describeCredentialSourceConformance(
  'static',
  async (t) => {
    const { write, dependencies } = place(t);
    write('first\n');
    const config = fixed.config.parse({ username: 'robot', password: { file: 'file' } });
    return {
      source: await fixed.open(config, dependencies),
      known: repository('gcr.io'),
      expected: 'robot:first',
      rotate: () => write('the second\n'),
    };
  },
  [
    'it has none for a repository it does not know',
    'where it cannot be had now it is UNAVAILABLE, never undefined',
  ],
);

describeCredentialSourceConformance(
  'docker-config',
  async (t) => {
    const { write, dependencies } = place(t);
    const entry = (text: string) => {
      const auth = Buffer.from(text).toString('base64');
      write(JSON.stringify({ auths: { 'gcr.io': { auth } } }));
    };
    entry('robot:first');
    return {
      source: await dockerConfig.open(dockerConfig.config.parse({ file: 'file' }), dependencies),
      known: repository('gcr.io'),
      unknown: repository('quay.io'),
      expected: 'robot:first',
      rotate: () => entry('robot:the second'),
    };
  },
  ['where it cannot be had now it is UNAVAILABLE, never undefined'],
);
