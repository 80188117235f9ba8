import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, type TestContext, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { startMemoryRegistry } from '../../src/testing/index.js';
import { startLoopbackServer } from '../../src/testing/loopback-server.js';
import { Serving } from './serving.js';

// The SDKs of the clouds cost tens of megabytes and hundreds of milliseconds: whoever does not need one does not load it.

const program = fileURLToPath(new URL('../../src/bin/docker-registry-proxy.ts', import.meta.url));
const preload = fileURLToPath(new URL('note-modules.mjs', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'drp-modules-'));
after(() => rmSync(directory, { recursive: true, force: true }));
let count = 0;

interface Run {
  readonly env: NodeJS.ProcessEnv;
  readonly file: string;
  /** The packages that were loaded since. */
  packages(): ReadonlySet<string>;
}

/** Nothing of this machine's own identities counts. */
function prepare(upstream: object, more: NodeJS.ProcessEnv = {}): Run {
  const noted = join(directory, `noted-${count}`);
  const file = join(directory, `config-${count++}.yaml`);
  const settings = {
    ...{ listen: '127.0.0.1:0', admin: { listen: '127.0.0.1:0' }, externalUrl: 'http://docker.test' },
    ...{ upstreams: { one: upstream }, routes: [{ prefix: '', upstream: 'one' }] },
    ...{ verifiers: [{ id: 'all', type: 'anonymous' }], policy: [] },
  };
  writeFileSync(file, JSON.stringify(settings)); // JSON is YAML
  const env = {
    ...{ PATH: process.env.PATH, HOME: directory, NOTED_MODULES: noted },
    ...{ NODE_OPTIONS: `--import "${pathToFileURL(preload)}"`, AWS_EC2_METADATA_DISABLED: 'true' },
    ...more,
  };
  const packages = () =>
    new Set(
      [...readFileSync(noted, 'utf8').matchAll(/\/node_modules\/((?:@[^/]+\/)?[^/]+)\//g)].map(
        ([, name = '']) => name,
      ),
    );
  return { env, file, packages };
}

function check({ env, file }: Run, ...more: readonly string[]): Promise<number> {
  const args = ['--import', 'tsx', program, 'check', '--config', file, ...more];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env, timeout: 60_000 }, (error) => {
      resolve(error === null ? 0 : Number(error.code));
    });
  });
}

const ofClouds = ({ packages }: Run) =>
  [...packages()].filter((name) => /^@aws-sdk\/|^@smithy\/|^google-auth-library$|^gaxios$/.test(name));

/** A registry that wants this password, and the credentials for it. */
async function registry(t: TestContext, username: string, password: string): Promise<string> {
  const started = await startMemoryRegistry({ auth: { kind: 'basic', username, password } });
  t.after(() => started.close());
  return started.url;
}

async function startMetadata(t: TestContext, token: string): Promise<NodeJS.ProcessEnv> {
  const server = await startLoopbackServer((_, response) => {
    response.setHeader('metadata-flavor', 'Google').setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ access_token: token, expires_in: 3599, token_type: 'Bearer' }));
  });
  t.after(() => server.close());
  return { GCE_METADATA_HOST: new URL(server.url).host };
}

describe('the SDKs of clouds', () => {
  const credentials = { type: 'static', username: 'acme', password: { file: 'password' } };
  writeFileSync(join(directory, 'password'), 'the-password', { mode: 0o600 });

  test('check loads none for a configuration that has nothing to do with them', async () => {
    const run = prepare({ url: 'http://127.0.0.1:1', credentials });
    assert.equal(await check(run), 0);
    assert.deepEqual(ofClouds(run), []);
    assert.ok(run.packages().has('undici'), 'what is loaded is noted');
  });

  test('nor does serve', async (t) => {
    const url = await registry(t, 'acme', 'the-password');
    const run = prepare({ url, credentials });
    const serving = new Serving(t, run.file, run.env);
    const { front } = await serving.ports();
    await fetch(`http://127.0.0.1:${front}/v2/`);
    serving.signal('SIGTERM');
    assert.equal(await serving.end(), 0);
    assert.deepEqual(ofClouds(run), []);
    assert.ok(run.packages().has('undici'), 'what is loaded is noted');
  });

  test("none is loaded for Google's metadata server", async (t) => {
    const url = await registry(t, 'oauth2accesstoken', 'of-the-machine');
    const env = await startMetadata(t, 'of-the-machine');
    const run = prepare({ url, credentials: { type: 'gcp', registryHosts: [new URL(url).host] } }, env);
    assert.equal(await check(run, '--connect'), 0);
    assert.deepEqual(ofClouds(run), []);
  });

  test("a key file loads Google's, and nothing of Amazon's", async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const key = {
      ...{ type: 'service_account', client_email: 'robot@acme.iam.gserviceaccount.com' },
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    };
    writeFileSync(join(directory, 'key.json'), JSON.stringify(key), { mode: 0o600 });
    const run = prepare({
      url: 'http://127.0.0.1:1',
      credentials: { type: 'gcp', keyFile: 'key.json', registryHosts: ['127.0.0.1:1'] },
    });
    assert.equal(await check(run), 0);
    assert.ok(ofClouds(run).includes('google-auth-library'), 'it is not loaded');
    assert.deepEqual(
      ofClouds(run).filter((name) => name.startsWith('@')),
      [],
    );
  });

  test("ecr loads Amazon's when it is used, and nothing of Google's", async (t) => {
    const url = await registry(t, 'AWS', 'never-had');
    const run = prepare({ url, credentials: { type: 'ecr', region: 'eu-west-1' } });
    assert.equal(await check(run, '--connect'), 1, 'nobody is anybody here');
    const loaded = ofClouds(run);
    assert.ok(loaded.includes('@aws-sdk/credential-providers'), loaded.join(' '));
    assert.ok(!loaded.includes('google-auth-library'), loaded.join(' '));
  });
});
