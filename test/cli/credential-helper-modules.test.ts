import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { AwsIdentities, owner } from '../clouds/harness/aws-identities.js';
import { startGceMetadata } from '../clouds/harness/gce-metadata.js';
import { startGoogleIdentity } from '../clouds/harness/google-identity.js';
import { googleAccounts } from '../clouds/harness/google-token-endpoint-accounts.js';
import { startImds } from '../clouds/harness/imds.js';
import { startWorld } from '../clouds/harness/world.js';
import { Machine } from './asking.js';

// Every pull waits for this program: it loads what it needs, and no SDK but where it is for AWS.

const preload = fileURLToPath(new URL('note-modules.mjs', import.meta.url));

/** Runs it. @returns the packages it loaded */
async function packagesFor(t: TestContext, machine: Machine, server: string): Promise<ReadonlySet<string>> {
  const noted = join(machine.home, 'noted');
  const env = { NOTED_MODULES: noted, NODE_OPTIONS: `--import "${pathToFileURL(preload)}"` };
  const { stdout, stderr } = await machine.askProgram('get', server, env);
  t.diagnostic(`${stdout.slice(0, 60)}${stderr}`);
  assert.match(stdout, /^\{"ServerURL":|^credentials not found/);
  const urls = readFileSync(noted, 'utf8').matchAll(/\/node_modules\/((?:@[^/]+\/)?[^/]+)\//g);
  return new Set(
    [...urls].map(([, name = '']) => name).filter((name) => !/^(?:tsx|esbuild|@esbuild)/.test(name)),
  );
}

describe('the packages of the credential helper', () => {
  test('none for a registry that is none of ours', async (t) => {
    assert.deepEqual([...(await packagesFor(t, new Machine(t), 'ghcr.io'))], []);
  });

  test('with a configuration: what reads it', async (t) => {
    const machine = new Machine(t);
    machine.write('.docker/password', 'x');
    const password = { file: 'password' };
    machine.configure([
      { match: 'docker.example.com', credentials: { type: 'static', username: 'a', password } },
    ]);
    const loaded = await packagesFor(t, machine, 'docker.example.com');
    assert.deepEqual([...loaded].sort(), ['yaml', 'zod']);
  });

  test('on Google Cloud: no SDK, and nothing of a server', async (t) => {
    const world = await startWorld();
    t.after(() => world.close());
    const metadata = await startGceMetadata(googleAccounts(), startGoogleIdentity(world));
    t.after(() => metadata.close());
    const machine = new Machine(t, { GCE_METADATA_HOST: metadata.host });
    const loaded = [...(await packagesFor(t, machine, 'docker.example.com'))].sort();
    assert.deepEqual(
      loaded.filter((name) => name !== 'jose'),
      ['undici', 'zod'],
    );
  });

  test("on AWS: Amazon's, and no other", async (t) => {
    const imds = await startImds(new AwsIdentities(), `arn:aws:sts::${owner}:assumed-role/node/i-1`, {
      region: 'eu-west-1',
    });
    t.after(() => imds.close());
    const machine = new Machine(t, { AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url });
    const loaded = [...(await packagesFor(t, machine, 'docker.example.com'))];
    assert.ok(loaded.includes('@aws-sdk/credential-providers'), loaded.join(' '));
    for (const name of ['google-auth-library', 'prom-client', 'pino', 'commander', 'yaml', 'ldapts']) {
      assert.ok(!loaded.includes(name), `${name} is loaded`);
    }
  });
});
