import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, type TestContext, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { certify, createAuthority } from '../../src/testing/certificates.js';
import {
  type MemoryRegistry,
  type MemoryRegistryOptions,
  startMemoryRegistry,
  tinyImageFor,
} from '../../src/testing/index.js';
import {
  basic,
  bearer,
  type Front,
  htpasswd,
  overwrite,
  passwords,
  reloadOf,
  type Scope,
  settingsFor,
  settled,
  sharedScope,
  startFront,
  takeOver,
  until,
} from '../harness/index.js';

// What a reload changes. The proxy is in this process; `front.reload()` is what SIGHUP does.

const image = tinyImageFor('amd64', 'hello');
const otherImage = tinyImageFor('arm64', 'hello again');
const manifest = '/v2/team/app/manifests/1';
const rule = '{ names: ["local:alice"], repositories: ["**"], actions: [pull, push, delete] }';

async function startRegistry(
  scope: Scope,
  options: MemoryRegistryOptions = {},
  held = image,
): Promise<MemoryRegistry> {
  const registry = await startMemoryRegistry(options);
  scope.after(() => registry.close());
  registry.putImage('team/app', '1', held);
  return registry;
}

async function statusOf(front: Front, path = manifest): Promise<number> {
  return (await front.sendAs('alice', path)).status;
}

/** A parameter of the challenge that a host answers with. */
async function challengeOf(front: Front, host: string, parameter: string): Promise<string | undefined> {
  const { headers } = await front.send(manifest, { host });
  return new RegExp(`${parameter}="([^"]*)"`).exec(headers['www-authenticate'] ?? '')?.[1];
}

interface Change {
  readonly what: string;
  /** Settings before and after; `url` is that of another registry, with another image. */
  readonly before?: Readonly<Record<string, string>>;
  readonly after?: (url: string) => Readonly<Record<string, string>>;
  readonly users?: Readonly<Record<string, string>>;
  /** Looks at what should be another one afterwards. */
  readonly look: (front: Front, registry: MemoryRegistry) => Promise<unknown>;
  readonly sees: readonly [unknown, unknown];
  /** The places that the log tells. */
  readonly told: readonly string[];
}

const changes: readonly Change[] = [
  {
    what: 'the policy',
    before: { policy: `[${rule}]` },
    after: () => ({ policy: '[{ names: ["local:alice"], repositories: ["other/**"], actions: [pull] }]' }),
    look: (front) => statusOf(front),
    sees: [200, 403],
    told: ['policy[0].repositories', 'policy[0].actions'],
  },
  {
    what: 'the routes',
    after: () => ({ routes: '[{ prefix: new/, upstream: one }]' }),
    look: async (front) => [await statusOf(front), await statusOf(front, '/v2/new/team/app/manifests/1')],
    sees: [
      [200, 404],
      [404, 200],
    ],
    told: ['routes[0].prefix'],
  },
  {
    what: "an upstream's url",
    after: (url) => ({ upstreams: `{ one: { url: "${url}" } }` }),
    look: async (front) => (await front.sendAs('alice', manifest)).headers['docker-content-digest'],
    sees: [image.root.digest, otherImage.root.digest],
    told: ['upstreams.one.url'],
  },
  {
    what: 'the users: an old password is refused although it was verified just now',
    users: { ...passwords, alice: 'another' },
    look: async (front) => {
      const headers = { authorization: basic('alice', 'another') };
      return [await statusOf(front), (await front.send(manifest, { headers })).status];
    },
    sees: [
      [200, 401],
      [401, 200],
    ],
    told: ['verifiers[0].file'],
  },
  {
    what: 'the verifiers',
    after: () => ({
      verifiers: '[{ id: local, type: htpasswd, file: users.htpasswd }, { id: anyone, type: anonymous }]',
      policy: '[{ names: ["anyone:*", "local:*"], repositories: ["**"], actions: [pull] }]',
    }),
    look: async (front) => (await front.send('/token?scope=repository:team/app:pull')).status,
    sees: [401, 200],
    told: ['verifiers', 'policy'],
  },
  {
    what: 'the life of tokens',
    after: () => ({ token: '{ ttl: 10m }' }),
    look: async (front) => {
      const answer = await front.sendAs('alice', '/token');
      return (JSON.parse(answer.text) as { expires_in: number }).expires_in;
    },
    sees: [300, 600],
    told: ['token'],
  },
  {
    what: 'trusted proxies',
    after: () => ({ trustedProxies: '[127.0.0.1]' }),
    look: async (front) => {
      const headers = { 'x-forwarded-for': '203.0.113.9' };
      const answer = await front.sendAs('alice', manifest, { headers });
      return (await front.logLine((line) => line.requestId === answer.headers['x-request-id'])).address;
    },
    sees: ['127.0.0.1', '203.0.113.9'],
    told: ['trustedProxies'],
  },
  {
    what: 'the limits of requests',
    after: () => ({ limits: '{ requestsPerAddress: 1 }' }),
    look: async (front, registry) => {
      const remove = registry.faults.add({ path: '/manifests/slow' }, { delay: 60_000 });
      const leaving = new AbortController();
      registry.forgetRequests();
      const slow = front
        .sendAs('alice', '/v2/team/app/manifests/slow', { signal: leaving.signal })
        .catch(() => undefined);
      await registry.waitFor((request) => request.path.endsWith('/slow'));
      const status = await statusOf(front);
      leaving.abort();
      remove();
      await slow;
      await until(
        'no request is open',
        async () => (await front.metric('registry_proxy_requests_open')) === 0,
      );
      return status;
    },
    sees: [200, 429],
    told: ['limits'],
  },
  {
    what: 'the limits of connections',
    after: () => ({ limits: '{ connections: 1 }' }),
    look: async (front) => {
      await until('no connection is open', async () => {
        return (await front.metric('registry_proxy_connections{listener="front"}')) === 0;
      });
      const both = await Promise.allSettled([statusOf(front), statusOf(front)]);
      return both.filter(({ status }) => status === 'rejected').length;
    },
    sees: [0, 1],
    told: ['limits'],
  },
  {
    what: 'the level of the log',
    after: () => ({ log: '{ level: warn }' }),
    look: async (front) => {
      const { length } = front.logLines();
      await statusOf(front);
      const counted =
        'registry_proxy_requests_total{operation="manifest",method="GET",status="404",upstream="one"}';
      const before = await front.metric(counted);
      await statusOf(front, '/v2/team/app/manifests/none');
      await until('it was counted', async () => (await front.metric(counted)) > before);
      return front
        .logLines()
        .slice(length)
        .some(({ event }) => event === 'access');
    },
    sees: [true, false],
    told: ['log.level'],
  },
  {
    what: 'the external URL, and with it the challenge',
    after: () => ({ externalUrl: 'https://new.test' }),
    look: (front) => challengeOf(front, 'any.test', 'realm'),
    sees: ['http://docker.test/token', 'https://new.test/token'],
    told: ['externalUrl'],
  },
  {
    what: 'the hosts that routes name',
    after: () => ({ routes: '[{ prefix: "", host: second.test, upstream: one }]' }),
    look: (front) => challengeOf(front, 'second.test', 'service'),
    sees: ['docker.test', 'second.test'],
    told: ['routes[0].host'],
  },
  {
    what: 'the catalogue',
    after: () => ({ catalog: '[one]' }),
    look: async (front) => (await front.sendAs('alice', '/v2/_catalog')).status,
    sees: [405, 200],
    told: ['catalog'],
  },
  {
    what: 'refresh tokens',
    after: () => ({ token: '{ refreshTokens: true }' }),
    look: async (front) => {
      const answer = await front.sendAs('alice', '/token?offline_token=true');
      return 'refresh_token' in (JSON.parse(answer.text) as object);
    },
    sees: [false, true],
    told: ['token'],
  },
  {
    what: 'the audit log',
    before: { audit: '{ file: one.jsonl }' },
    after: () => ({ audit: '{ file: two.jsonl }' }),
    look: async (front) => {
      const answer = await front.sendAs('alice', manifest);
      const id = String(answer.headers['x-request-id']);
      const files = ['one.jsonl', 'two.jsonl'];
      const has = (name: string) => textOf(front, name).includes(id);
      await until('there is a line', () => files.some(has));
      return files.filter(has);
    },
    sees: [['one.jsonl'], ['two.jsonl']],
    told: ['audit.file'],
  },
];

function textOf(front: Front, name: string): string {
  const file = join(front.directory, name);
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

describe('a reload changes', () => {
  const scope = sharedScope();
  let registry: MemoryRegistry;
  let other: MemoryRegistry;
  before(async () => {
    registry = await startRegistry(scope);
    other = await startRegistry(scope, {}, otherImage);
  });

  for (const { what, before = {}, after, users, look, sees, told } of changes) {
    test(what, async (t) => {
      const settings = settingsFor(registry.url, before);
      const front = await startFront(t, settings);
      assert.deepEqual(await look(front, registry), sees[0], 'before');
      const parts = front.proxy.openParts;
      const old = readFileSync(join(front.directory, 'users.htpasswd'), 'utf8');
      if (users) overwrite(join(front.directory, 'users.htpasswd'), await htpasswd(users), 'renamed');
      const next = { ...before, ...after?.(other.url) };
      front.configure(settingsFor(registry.url, next));
      // At `warn` the log does not say so any more.
      if (told.includes('log.level')) await front.reload();
      else assert.deepEqual((await takeOver(front)).changed, told);
      assert.deepEqual(await look(front, registry), sees[1], 'afterwards');
      // Back again, so that as many parts have to be open as in the beginning.
      if (users) overwrite(join(front.directory, 'users.htpasswd'), old, 'renamed');
      front.configure(settings);
      await front.reload();
      await settled(front);
      assert.equal(front.proxy.openParts, parts, 'parts that are open');
      assert.deepEqual(await look(front, registry), sees[0], 'back again');
    });
  }
});

describe('a reload changes what files say', () => {
  test('the password for an upstream, and the docker-config that holds one', async (t) => {
    const user = { username: 'robot', password: 'first' };
    const registry = await startRegistry(t, { auth: { kind: 'basic', ...user } });
    const configFile = (password: string) =>
      JSON.stringify({
        auths: { [registry.host]: { auth: basic('robot', password).slice('Basic '.length) } },
      });
    const upstream = (credentials: string) => `{ url: "${registry.url}", credentials: ${credentials} }`;
    const own = upstream('{ type: static, username: robot, password: { file: password } }');
    const docker = upstream('{ type: docker-config, file: config.json }');
    const front = await startFront(
      t,
      `
upstreams: { own: ${own}, docker: ${docker} }
routes: [{ prefix: own/, upstream: own }, { prefix: docker/, upstream: docker }]
`,
      { files: { password: 'first', 'config.json': configFile('first') } },
    );
    const statuses = () =>
      Promise.all(['own', 'docker'].map((one) => statusOf(front, `/v2/${one}/team/app/manifests/1`)));
    assert.deepEqual(await statuses(), [200, 200]);
    registry.setCredentials('robot', 'second');
    overwrite(join(front.directory, 'password'), 'second');
    overwrite(join(front.directory, 'config.json'), configFile('second'));
    assert.deepEqual((await takeOver(front)).changed, [
      'upstreams.own.credentials.password.file',
      'upstreams.docker.credentials.file',
    ]);
    assert.deepEqual(await statuses(), [200, 200]);
  });

  test('the authorities of an upstream', async (t) => {
    const [first, second] = await Promise.all([createAuthority(), createAuthority({ name: 'second' })]);
    const made = await certify(second);
    const tls = { cert: made.certificate, key: made.privateKey };
    const registry = await startRegistry(t, { tls });
    const front = await startFront(
      t,
      settingsFor(registry.url, { upstreams: `{ one: { url: "${registry.url}", ca: ca.pem } }` }),
      { files: { 'ca.pem': first.certificate } },
    );
    assert.equal(await statusOf(front), 503);
    overwrite(join(front.directory, 'ca.pem'), second.certificate);
    assert.deepEqual((await takeOver(front)).changed, ['upstreams.one.ca']);
    assert.equal(await statusOf(front), 200);
  });

  test('the keys of tokens: those that an old key signed are refused', async (t) => {
    const [first, second] = await Promise.all([createAuthority(), createAuthority()]);
    const registry = await startRegistry(t);
    const front = await startFront(
      t,
      settingsFor(registry.url, { token: '{ keys: { files: [key.pem] } }' }),
      {
        files: { 'key.pem': first.privateKey },
      },
    );
    const pull = async (token: string) =>
      (await front.send(manifest, { headers: { authorization: bearer(token) } })).status;
    const old = await front.token('alice', ['repository:team/app:pull']);
    assert.equal(await pull(old), 200);
    overwrite(join(front.directory, 'key.pem'), second.privateKey);
    assert.deepEqual((await takeOver(front)).changed, ['token.keys.files[0]']);
    assert.equal(await pull(old), 401);
    assert.equal(await pull(await front.token('alice', ['repository:team/app:pull'])), 200);
  });

  test('the certificate we serve with, and whose client certificates are good', async (t) => {
    const [ours, renewed, trusted, other] = await Promise.all(
      ['ours', 'renewed', 'trusted', 'other'].map((name) => createAuthority({ name })),
    );
    assert.ok(ours && renewed && trusted && other, 'certificates');
    const client = await certify(other, { name: 'client' });
    const registry = await startRegistry(t);
    const tls = '{ certificate: tls.crt, key: tls.key, clientCertificates: { ca: clients.pem } }';
    const front = await startFront(
      t,
      settingsFor(registry.url, { tls, externalUrl: 'https://docker.test' }),
      {
        files: {
          'tls.crt': ours.certificate,
          'tls.key': ours.privateKey,
          'clients.pem': trusted.certificate,
        },
      },
    );
    assert.equal(await peerOf(t, front.port), 'ours');
    assert.equal(await peerOf(t, front.port, client), undefined);
    overwrite(join(front.directory, 'tls.crt'), renewed.certificate);
    const [half] = await reloadOf(front);
    assert.match(String(half?.problems), /proxy\.yaml:\d+:\d+: tls/);
    assert.equal(await peerOf(t, front.port), 'ours', 'one of the two files is new');
    overwrite(join(front.directory, 'tls.key'), renewed.privateKey);
    overwrite(join(front.directory, 'clients.pem'), other.certificate);
    assert.deepEqual((await takeOver(front)).changed, [
      'tls.certificate',
      'tls.key',
      'tls.clientCertificates.ca',
    ]);
    assert.equal(await peerOf(t, front.port), 'renewed');
    assert.equal(await peerOf(t, front.port, client), 'renewed');
  });
});

/** Opens a connection and sends a request. @returns the name in the server's certificate; undefined: no answer */
function peerOf(
  t: TestContext,
  port: number,
  client?: { readonly certificate: string; readonly privateKey: string },
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const shown = client && { cert: client.certificate, key: client.privateKey };
    const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...shown });
    t.after(() => void socket.destroy());
    // What is refused in TLS 1.3 is refused after the client's handshake has ended.
    socket.once('secureConnect', () => socket.write('GET / HTTP/1.1\r\nHost: docker.test\r\n\r\n'));
    socket.once('data', () => resolve(String(socket.getPeerCertificate().subject.CN)));
    socket.on('error', () => undefined).once('close', () => resolve(undefined));
  });
}

describe('what is told of a reload', () => {
  test('places, and never values; of many only the first', async (t) => {
    const registry = await startRegistry(t);
    const front = await startFront(t, settingsFor(registry.url));
    const secret = 'hunter2';
    const many = Array.from({ length: 30 }, (_, i) => `u${i}: { url: "http://127.0.0.1:1" }`).join(', ');
    const line = await takeOver(
      front,
      settingsFor(registry.url, {
        upstreams: `{ one: { url: "${registry.url}", proxy: "http://u:${secret}@127.0.0.1:1" }, ${many} }`,
      }),
    );
    const changed = line.changed as readonly string[];
    assert.equal(changed[0], 'upstreams.one.proxy');
    assert.equal(changed.length, 21);
    assert.equal(changed.at(-1), 'and 11 more');
    assert.equal(line.because, 'signal');
    assert.ok(!front.log().includes(secret), 'a value was told');
  });

  test('the settings that need a restart, as long as they differ from what is open', async (t) => {
    const registry = await startRegistry(t);
    const front = await startFront(t, settingsFor(registry.url));
    const other = { listen: '127.0.0.1:1', admin: '{ listen: 127.0.0.1:2 }' };
    const warning = (lines: readonly { settings?: unknown }[]) =>
      lines.flatMap(({ settings }) => settings ?? []);
    front.configure(settingsFor(registry.url, other));
    assert.deepEqual(warning(await reloadOf(front)), ['listen', 'admin']);
    front.configure(settingsFor(registry.url, { ...other, trustedProxies: '[127.0.0.1]' }));
    assert.deepEqual(warning(await reloadOf(front)), ['listen', 'admin']);
    front.configure(settingsFor(registry.url, { trustedProxies: '[127.0.0.1]' }));
    assert.deepEqual(warning(await reloadOf(front)), []);
    assert.equal(await statusOf(front), 200);
  });

  test('TLS that is switched on or off, and its redirect, need one too', async (t) => {
    const [registry, ours] = await Promise.all([startRegistry(t), createAuthority()]);
    const files = { 'tls.crt': ours.certificate, 'tls.key': ours.privateKey };
    const plain = await startFront(t, settingsFor(registry.url), { files });
    const tls = (more = '') => ({
      tls: `{ certificate: tls.crt, key: tls.key${more} }`,
      externalUrl: 'https://docker.test',
    });
    plain.configure(settingsFor(registry.url, tls(', redirectFrom: "127.0.0.1:0"')));
    const lines = await reloadOf(plain);
    assert.deepEqual(lines.at(-1)?.settings, ['tls', 'tls.redirectFrom'], JSON.stringify(lines));
    assert.equal(await statusOf(plain), 200, 'it still speaks plain http');
    const front = await startFront(t, settingsFor(registry.url, tls()), { files });
    front.configure(settingsFor(registry.url));
    assert.deepEqual((await reloadOf(front)).at(-1)?.settings, ['tls']);
    assert.equal(await peerOf(t, front.port), 'test');
  });

  test('nothing where nothing changed, but to who asked', async (t) => {
    const registry = await startRegistry(t);
    const front = await startFront(t, settingsFor(registry.url));
    front.configure(`# a comment\n${settingsFor(registry.url)}`);
    const [line] = await reloadOf(front);
    assert.equal(line?.message, 'the configuration is what is served already');
    assert.equal(await front.metric('registry_proxy_configuration_reloads_total{result="unchanged"}'), 1);
    assert.equal(await front.metric('registry_proxy_configuration_reloads_total{result="applied"}'), 0);
  });
});
