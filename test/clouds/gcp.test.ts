import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { ProxyAgent, request } from 'undici';
import { digestOf } from '../../src/reference/digest.js';
import { tinyImage } from '../../src/testing/index.js';
import { succeeded } from '../e2e/harness/command.js';
import { writeOciLayout } from '../e2e/harness/oci-layout.js';
import { proxyAddress, startProxy } from '../e2e/harness/proxy.js';
import { requirePrograms } from '../e2e/harness/require-programs.js';
import { skopeo } from '../e2e/harness/skopeo.js';
import { openWorkspace } from '../e2e/harness/workspace.js';
import {
  assertError,
  closeUpload,
  type Front,
  htpasswd,
  locationOf,
  openUpload,
  passwords,
  patchUpload,
  pushImage,
  send,
  startFront,
} from '../harness/index.js';
import { type GoogleRegistry, startGoogleRegistry } from './harness/google-registry.js';
import { type GoogleCloud, startGoogleCloud } from './harness/google-token-endpoint-cloud.js';
import { type Storage, startStorage } from './harness/storage.js';
import { startWorld, type World } from './harness/world.js';

const hosts = ['gcr.io', 'europe-west1-docker.pkg.dev'] as const;
const image = tinyImage('of Google');
const [blob] = image.blobs;
const accept = { accept: image.root.mediaType };

interface House {
  readonly world: World;
  readonly cloud: GoogleCloud;
  readonly storage: Storage;
  readonly registry: GoogleRegistry;
  /** Holds the subject token; a key file names it absolutely, or it counts from the working directory. */
  readonly subjectFile: string;
  /** Our proxy before `host`; `/v2/app` is `acme/images/app` there. */
  open(t: TestContext, settings: OpenSettings): Promise<OpenHouse>;
}

interface OpenSettings {
  readonly host?: string;
  /** In YAML on one line, with no braces; none: what the registry usually wants. */
  readonly credentials?: string;
  readonly blobs?: 'stream' | 'redirect';
  readonly files?: Readonly<Record<string, string>>;
}

interface OpenHouse {
  readonly front: Front;
  readonly ask: (path: string, options?: Parameters<Front['send']>[1]) => ReturnType<Front['send']>;
  pulls(repository?: string): Promise<void>;
}

async function openHouse(t: TestContext): Promise<House> {
  delete process.env.GOOGLE_APPLICATION_CREDENTIALS;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const world = await startWorld();
  t.after(() => world.close());
  const cloud = await startGoogleCloud(world);
  t.after(() => cloud.close());
  process.env.GCE_METADATA_HOST = cloud.metadata.host;
  const storage = await startStorage(workspace);
  const registry = startGoogleRegistry(world, cloud.accounts, storage, hosts);
  for (const account of [cloud.robot.email, cloud.target.email, 'alice@acme.example']) {
    registry.roles.set(account, 'writer');
  }
  registry.roles.set('vm@acme.iam.gserviceaccount.com', 'writer');
  registry.roles.set('principal://acme/subject/workload', 'writer');
  const [, port] = storage.host.split(':');
  const put = await pushImage((path, o) => send(Number(port), path, o), 'acme/images/app', '1', image);
  assert.equal(put.status, 201, put.text);
  return {
    ...{ world, cloud, storage, registry },
    subjectFile: workspace.file('subject-token', cloud.subjectToken),
    open: (t, settings) => openProxy(t, { world, cloud }, settings),
  };
}

async function openProxy(
  t: TestContext,
  { world, cloud }: Pick<House, 'world' | 'cloud'>,
  { host = 'gcr.io', credentials, blobs = 'stream', files = {} }: OpenSettings,
): Promise<OpenHouse> {
  const net = `proxy: "${world.proxyUrl}", ca: world.pem`;
  const shown = credentials === undefined ? '' : `, credentials: { type: gcp, ${net}, ${credentials} }`;
  const yaml = `
upstreams:
  google: { url: "${host}", ${net}, blobs: ${blobs}${shown} }
routes:
  - { prefix: "", upstream: google, rewrite: acme/images/ }
`;
  const all = {
    ...{ 'world.pem': world.authority, 'robot.json': cloud.robot.keyFile, 'user.json': cloud.userFile },
    ...files,
  };
  const front = await startFront(t, yaml, { files: all });
  const ask: OpenHouse['ask'] = (path, options) => front.sendAs('alice', path, options);
  return {
    front,
    ask,
    pulls: async (repository = 'app') => {
      const manifest = await ask(`/v2/${repository}/manifests/1`, { headers: accept });
      assert.equal(manifest.status, 200, `${manifest.text} ${front.log()}`);
      assert.ok(manifest.body.equals(image.root.bytes), 'another manifest');
      assert.ok(blob !== undefined, 'the image has no blob');
      const layer = await ask(`/v2/${repository}/blobs/${blob.digest}`);
      assert.equal(layer.status, 200, layer.text);
      assert.equal(digestOf(layer.body), blob.digest);
    },
  };
}

/** Everything that lets somebody in at Google's. */
function secretsOf({ cloud, registry }: House): readonly string[] {
  const { private_key: key } = JSON.parse(cloud.robot.keyFile);
  const user = JSON.parse(cloud.userFile);
  return [
    ...cloud.accounts.given,
    ...registry.given,
    ...String(key).split('\n').slice(1, 4),
    ...[user.client_secret, user.refresh_token, cloud.subjectToken],
  ];
}

/** The hosts that saw a secret, plain or in an `Authorization: Basic`. */
function hostsThatSaw({ world }: House, secret: string): readonly string[] {
  const saw = world.requests.filter(({ headers, path, body }) => {
    const authorization = headers.authorization ?? '';
    const decoded = Buffer.from(authorization.replace(/^Basic /, ''), 'base64').toString('utf8');
    const nested = Buffer.from(decoded.slice(decoded.indexOf(':') + 1), 'base64').toString('utf8');
    return [authorization, decoded, nested, path, body, decodeURIComponent(body)].some((text) =>
      text.includes(secret),
    );
  });
  return [...new Set(saw.map(({ host }) => host))].sort();
}

test("Google's registries", async (t) => {
  if (!requirePrograms(t)) return;
  const house = await openHouse(t);
  const { world, cloud, registry } = house;

  const kinds: Readonly<Record<string, string | undefined>> = {
    'nothing configured: the metadata server': undefined,
    'the metadata server': 'serviceAccount: default',
    'a service account': 'keyFile: robot.json',
    'a user': 'keyFile: user.json',
    'federation with impersonation': 'keyFile: federation.json',
    'the key itself': 'keyFile: robot.json, present: json-key',
    'the key itself, as base64': 'keyFile: robot.json, present: json-key-base64',
  };
  for (const host of hosts) {
    for (const [kind, credentials] of Object.entries(kinds)) {
      await t.test(`${host}, ${kind}: pulls and pushes`, async (t) => {
        const files = {
          'federation.json': cloud.federationFile({
            impersonate: true,
            credential_source: { file: house.subjectFile },
          }),
        };
        const { front, ask, pulls } = await house.open(t, {
          ...{ host, files },
          ...(credentials !== undefined && { credentials }),
        });
        await pulls();
        const fresh = tinyImage(`${host} ${kind}`);
        const pushed = await pushImage(ask, `pushed-${Object.keys(kinds).indexOf(kind)}`, 'new', fresh);
        assert.equal(pushed.status, 201, pushed.text);
        const written = front.log() + (await front.metrics());
        for (const secret of secretsOf(house)) assert.ok(!written.includes(secret), 'a secret was written');
      });
    }
  }

  await t.test('uploads go on outside /v2, as the client is not told', async (t) => {
    const { ask } = await house.open(t, { credentials: 'keyFile: robot.json' });
    const session = await openUpload(ask, 'uploads');
    assert.match(session, /^\/v2\/uploads\/blobs\/uploads\//);
    const bytes = Buffer.from('whole in one PUT');
    const put = await closeUpload(ask, session, digestOf(bytes), bytes);
    assert.equal(put.status, 201, put.text);
    const sent = world.requestsTo('gcr.io').at(-1);
    assert.match(sent?.path ?? '', /^\/artifacts-uploads\/namespaces\/acme\/repositories\/images\/uploads\//);
  });

  await t.test('a second chunk is refused, and the client is told', async (t) => {
    const { ask } = await house.open(t, { credentials: 'keyFile: robot.json' });
    const first = await patchUpload(ask, await openUpload(ask, 'chunks'), Buffer.from('one'));
    assert.equal(first.status, 202, first.text);
    assertError(await patchUpload(ask, locationOf(first), Buffer.from('two')), 400, 'UNSUPPORTED');
  });

  await t.test('blobs: redirect hands on an absolute URL, which works without our credential', async (t) => {
    const { ask } = await house.open(t, { credentials: 'keyFile: robot.json', blobs: 'redirect' });
    const answer = await ask(`/v2/app/blobs/${blob?.digest}`);
    assert.equal(answer.status, 307, answer.text);
    const location = locationOf(answer);
    assert.match(location, /^https:\/\/gcr\.io\/artifacts-downloads\/namespaces\/acme\//);
    const agent = new ProxyAgent({ uri: world.proxyUrl, requestTls: { ca: world.authority } });
    t.after(() => agent.destroy());
    const { body } = await request(location, { dispatcher: agent });
    assert.equal(digestOf(Buffer.from(await body.arrayBuffer())), blob?.digest);
  });

  await t.test('a client does not notice that credential and token end', async (t) => {
    const { pulls } = await house.open(t, { credentials: 'keyFile: robot.json' });
    await pulls();
    registry.revokeTokens();
    cloud.accounts.revokeTokens();
    await pulls();
  });

  await t.test('who may only read cannot push, and what is private is not there for others', async (t) => {
    const { pulls, ask } = await house.open(t, { credentials: 'keyFile: robot.json' });
    registry.roles.set(cloud.robot.email, 'reader');
    t.after(() => void registry.roles.set(cloud.robot.email, 'writer'));
    registry.revokeTokens();
    await pulls();
    assertError(await ask('/v2/app/blobs/uploads/', { method: 'POST' }), 404, 'NAME_UNKNOWN');
    registry.roles.delete(cloud.robot.email);
    registry.revokeTokens();
    assertError(await ask('/v2/app/manifests/1', { headers: accept }), 404, 'NAME_UNKNOWN');
  });

  await t.test('public images need no credential', async (t) => {
    const net = `proxy: "${world.proxyUrl}", ca: world.pem`;
    registry.roles.set('allUsers', 'reader');
    t.after(() => void registry.roles.delete('allUsers'));
    const front = await startFront(
      t,
      `
upstreams: { google: { url: "${hosts[1]}", ${net}, credentials: { type: anonymous } } }
routes: [{ prefix: "", upstream: google, rewrite: acme/images/ }]
`,
      { files: { 'world.pem': world.authority } },
    );
    assert.equal((await front.sendAs('alice', '/v2/app/manifests/1', { headers: accept })).status, 200);
  });

  await t.test('a key that was deleted is 503 for the client, and a reason in the log', async (t) => {
    const other = cloud.accounts.createServiceAccount('short-lived');
    const files = { 'short.json': other.keyFile };
    const { ask, front } = await house.open(t, { credentials: 'keyFile: short.json', files });
    cloud.accounts.createServiceAccount('short-lived');
    assertError(await ask('/v2/app/manifests/1', { headers: accept }), 503, 'UNAVAILABLE');
    await front.logLine((line) =>
      /invalid_grant: the key of short-lived@.* was deleted/.test(JSON.stringify(line)),
    );
  });

  await t.test('without a metadata server: 503, and the log says what to do', async (t) => {
    const own = process.env.GCE_METADATA_HOST;
    t.after(() => {
      process.env.GCE_METADATA_HOST = own;
    });
    process.env.GCE_METADATA_HOST = '127.0.0.1:1';
    const { ask, front } = await house.open(t, {});
    assertError(await ask('/v2/app/manifests/1', { headers: accept }), 503, 'UNAVAILABLE');
    await front.logLine((line) => JSON.stringify(line).includes('not on Google Cloud? set keyFile'));
  });

  await t.test('no secret was seen by a host it is not for', () => {
    const own = ['oauth2.googleapis.com', 'sts.googleapis.com', 'iamcredentials.googleapis.com', ...hosts];
    for (const secret of secretsOf(house)) {
      const strangers = hostsThatSaw(house, secret).filter((host) => !own.includes(host));
      assert.deepEqual(strangers, []);
    }
    const { private_key: key } = JSON.parse(cloud.robot.keyFile);
    const [, line = ''] = String(key).split('\n');
    assert.deepEqual(
      hostsThatSaw(house, line),
      [...hosts].sort(),
      'the key itself, where it was to be shown',
    );
    assert.deepEqual(hostsThatSaw(house, cloud.subjectToken), ['sts.googleapis.com']);
    assert.deepEqual(world.unknownNames, []);
  });
});

test('skopeo through our proxy as a program', async (t) => {
  if (!requirePrograms(t)) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const world = await startWorld();
  t.after(() => world.close());
  const cloud = await startGoogleCloud(world);
  t.after(() => cloud.close());
  const registry = startGoogleRegistry(world, cloud.accounts, await startStorage(workspace), hosts);
  registry.roles.set(cloud.robot.email, 'writer');
  registry.roles.set('vm@acme.iam.gserviceaccount.com', 'writer');
  const net = { proxy: world.proxyUrl, ca: workspace.file('world.pem', world.authority) };
  const users = workspace.file('users.htpasswd', await htpasswd({ alice: passwords.alice }));
  const address = await proxyAddress();
  const keyFile = workspace.file('robot.json', cloud.robot.keyFile);
  const proxy = await startProxy(
    workspace,
    address,
    {
      upstreams: {
        gcr: { url: 'gcr.io', ...net, credentials: { type: 'gcp', ...net } },
        artifacts: {
          ...{ url: 'europe-west1-docker.pkg.dev', ...net },
          credentials: { type: 'gcp', ...net, serviceAccount: 'default' },
        },
      },
      routes: [
        { prefix: 'gcr/', upstream: 'gcr', rewrite: 'acme/' },
        { prefix: '', upstream: 'artifacts', rewrite: 'acme/images/' },
      ],
      verifiers: [{ id: 'local', type: 'htpasswd', file: users }],
      policy: [{ names: ['local:alice'], repositories: ['**'], actions: ['pull', 'push'] }],
      log: { level: 'debug' },
    },
    { env: { GCE_METADATA_HOST: cloud.metadata.host, GOOGLE_APPLICATION_CREDENTIALS: keyFile } },
  );
  const client = skopeo(workspace);
  const { directory } = writeOciLayout(workspace, 'google', image);
  succeeded(
    await client(
      ['login', '--tls-verify=false', '-u', 'alice', '--password-stdin', proxy.host],
      passwords.alice,
    ),
  );
  for (const repository of ['gcr/app', 'app']) {
    const remote = `docker://${proxy.host}/${repository}:1`;
    succeeded(await client(['copy', '--dest-tls-verify=false', `oci:${directory}:latest`, remote]));
    const copy = workspace.path(`copy-${repository.replace('/', '-')}`);
    succeeded(await client(['copy', '--src-tls-verify=false', remote, `dir:${copy}`]));
  }
  assert.equal(cloud.metadata.asked.length > 0, true, 'the metadata server was not asked');
  for (const secret of cloud.accounts.given) {
    assert.ok(!proxy.output().includes(secret), 'a token was written');
  }
  assert.deepEqual(world.unknownNames, []);
});
