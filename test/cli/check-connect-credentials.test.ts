import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startLoopbackServer } from '../../src/testing/loopback-server.js';
import { type GoogleCloud, startGoogleCloud } from '../clouds/harness/google-token-endpoint-cloud.js';
import { startWorld, type World } from '../clouds/harness/world.js';
import { CheckedDirectory, cells, type Ended, run, told } from './checking.js';

// What `check --connect` says about credentials that a cloud gives, where they cannot be had: what is to be fixed is
// seldom where the registry is configured.

describe('check --connect says why a cloud gives no credential', () => {
  const directory = new CheckedDirectory();
  let world: World;
  let cloud: GoogleCloud;
  let deadProxy: string;
  let ended: Ended;

  before(async () => {
    world = await startWorld();
    cloud = await startGoogleCloud(world);
    const closed = await startLoopbackServer(() => {});
    await closed.close();
    deadProxy = closed.url;
    world.host(['europe-docker.pkg.dev', '123456789012.dkr.ecr.eu-wst-1.amazonaws.com'], (exchange) =>
      exchange.json(401, {}, { 'www-authenticate': 'Basic realm="registry"' }),
    );
    directory.write('key.json', cloud.robot.keyFile);
    const ca = directory.write('world.pem', world.authority);
    const reach = { proxy: world.proxyUrl, ca };
    const google = { url: 'europe-docker.pkg.dev', ...reach };
    const gcp = { type: 'gcp', keyFile: 'key.json', timeout: '5s' };
    const configuration = directory.configuration('failing.yaml', {
      dead: { ...google, credentials: { ...gcp, proxy: deadProxy, ca } },
      untrusted: { ...google, credentials: { ...gcp, proxy: world.proxyUrl } },
      region: {
        url: '123456789012.dkr.ecr.eu-wst-1.amazonaws.com',
        ...reach,
        credentials: { type: 'ecr', ...reach, timeout: '5s' },
      },
    });
    const env = {
      ...process.env,
      AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE',
      AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY',
    };
    ended = await run(['check', '--config', configuration, '--connect'], env);
  });
  after(async () => {
    await cloud.close();
    await world.close();
    directory.remove();
  });

  for (const [name, said, fix] of [
    [
      'dead',
      /no answer from oauth2\.googleapis\.com: the proxy 127\.0\.0\.1:\d+ is not reached: the connection is refused$/,
      /^is `proxy` right.*; `upstreams\.dead\.credentials` have `proxy` and `ca` of their own/,
    ],
    [
      'untrusted',
      /no answer from oauth2\.googleapis\.com: its certificate is not trusted$/,
      /^name the PEM file .* as `ca`; `upstreams\.untrusted\.credentials` have `proxy` and `ca` of their own/,
    ],
    [
      'region',
      /no answer from api\.ecr\.eu-wst-1\.amazonaws\.com: the proxy does not lead there$/,
      /^does the proxy know the name/,
    ],
  ] as const) {
    test(name, () => {
      const { stdout, stderr } = ended;
      assert.equal(ended.code, 1, `${stdout}${stderr}`);
      assert.match(cells(stdout, name)[2] ?? '', /FAILED$/, stdout);
      const found = told(stdout, name);
      assert.match(found.said, said, stdout);
      assert.match(found.fix ?? '', fix, stdout);
    });
  }

  async function withMetadata(): Promise<Ended> {
    const ca = directory.write('world.pem', world.authority);
    const file = directory.configuration('metadata.yaml', {
      google: { url: 'europe-docker.pkg.dev', proxy: world.proxyUrl, ca },
    });
    const { GOOGLE_APPLICATION_CREDENTIALS: _, ...environment } = process.env;
    const env = { ...environment, GCE_METADATA_HOST: cloud.metadata.host };
    return run(['check', '--config', file, '--connect'], env);
  }

  test('a metadata server that is out of order is not answered with a setting', async () => {
    cloud.metadata.fault = 'fails';
    const { stdout } = await withMetadata();
    cloud.metadata.fault = undefined;
    const { said, fix } = told(stdout, 'google');
    assert.match(said, /the metadata server 127\.0\.0\.1:\d+ answers 500$/, stdout);
    assert.match(fix ?? '', /^it is out of order.*: try later$/, stdout);
  });

  test('what a source says on what to do is not said twice', async () => {
    cloud.metadata.serviceAccount = undefined;
    const { stdout } = await withMetadata();
    const { said, fix } = told(stdout, 'google');
    assert.match(said, /this machine has no service account; attach one, or set keyFile$/, stdout);
    assert.equal(fix, undefined, stdout);
  });
});
