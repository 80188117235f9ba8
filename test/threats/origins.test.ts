import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import {
  type MemoryRegistry,
  type RegistryAuth,
  startMemoryRegistry,
  tinyImageFor,
} from '../../src/testing/index.js';
import { checkRealm } from '../../src/upstreams/realm.js';
import {
  assertError,
  bearer,
  type Front,
  openUpload,
  passwords,
  sharedScope,
  startFront,
} from '../harness/index.js';

const password = 'our-upstream-password';
const image = tinyImageFor('amd64', 'hello');
const blob = image.blobs[0] ?? assert.fail();
const credentials = 'credentials: { type: static, username: robot, password: { file: secret } }';

const auths: Readonly<Record<string, RegistryAuth>> = {
  basic: { kind: 'basic', username: 'robot', password },
  token: { kind: 'token', username: 'robot', password },
};

describe('threat 7: credentials sent to a redirect’s host', () => {
  for (const [kind, auth] of Object.entries(auths)) {
    describe(`an upstream with ${kind} authentication`, () => {
      const scope = sharedScope();
      let registry: MemoryRegistry;
      let evil: MemoryRegistry;
      let front: Front;

      before(async () => {
        registry = await startMemoryRegistry({ auth, storage: { redirect: 'absolute' } });
        evil = await startMemoryRegistry();
        scope.after(() => registry.close());
        scope.after(() => evil.close());
        registry.putImage('app', '1', image);
        evil.putImage('app', '1', image);
        front = await startFront(
          scope,
          `
upstreams:
  streaming: { url: "${registry.url}", ${credentials} }
  redirecting: { url: "${registry.url}", blobs: redirect, ${credentials} }
routes: [{ prefix: "s/", upstream: streaming }, { prefix: "r/", upstream: redirecting }]
`,
          { files: { secret: password } },
        );
      });

      beforeEach(() => {
        registry.faults.clear();
        registry.forgetRequests();
        evil.forgetRequests();
      });

      for (const what of [
        'manifests/1',
        `blobs/${blob.digest}`,
        'tags/list',
        `referrers/${image.root.digest}`,
      ]) {
        for (const status of [301, 302, 303, 307, 308]) {
          test(`${status} of ${what} to another origin: followed without Authorization`, async () => {
            const location = `${evil.url}/v2/app/${what}`;
            registry.faults.add({ path: `/v2/app/${what}` }, { answer: { status, headers: { location } } });
            const answer = await front.sendAs('alice', `/v2/s/app/${what}`);
            assert.equal(answer.status, 200, answer.text);
            assert.ok(evil.requests.length > 0, 'evil.requests.length > 0');
            for (const { headers } of evil.requests) {
              assert.equal(headers.authorization, undefined);
              assert.equal(headers.cookie, undefined);
            }
          });
        }
      }

      test('and not again when that redirects back', async () => {
        const back = `${registry.url}/v2/app/blobs/${blob.digest}?back`;
        const there = `${evil.url}/v2/app/blobs/${blob.digest}`;
        registry.faults.add(
          { path: /sha256:[0-9a-f]+$/ },
          { answer: { status: 307, headers: { location: there } } },
        );
        evil.faults.add({}, { answer: { status: 307, headers: { location: back } } });
        await front.sendAs('alice', `/v2/s/app/blobs/${blob.digest}`);
        const again = registry.requests.filter((request) => request.path.endsWith('?back'));
        assert.ok(again.length > 0, 'again.length > 0');
        for (const { headers } of again) assert.equal(headers.authorization, undefined);
        evil.faults.clear();
      });

      test('a redirect that is handed to the client carries nothing of ours', async () => {
        const answer = await front.sendAs('alice', `/v2/r/app/blobs/${blob.digest}`);
        assert.equal(answer.status, 307);
        const shown = answer.rawHeaders.join('\n');
        for (const secret of [password, passwords.alice, 'Basic ', 'Bearer '])
          assert.ok(!shown.includes(secret), '!shown.includes(secret)');
      });

      test('what the client shows never reaches the upstream', async () => {
        const token = await front.token('alice', ['repository:s/app:pull']);
        for (const what of ['manifests/1', `blobs/${blob.digest}`, 'tags/list']) {
          assert.equal((await front.sendAs('alice', `/v2/s/app/${what}`)).status, 200);
          const headers = { authorization: bearer(token) };
          assert.equal((await front.send(`/v2/s/app/${what}`, { headers })).status, 200);
        }
        const alice = Buffer.from(`alice:${passwords.alice}`).toString('base64');
        for (const request of registry.requests) {
          const text = `${request.path} ${request.rawHeaders.join(' ')}`;
          for (const secret of [token, alice, passwords.alice]) assert.ok(!text.includes(secret), text);
        }
      });
    });
  }

  for (const [what, location] of [
    ['to a file', 'file:///etc/passwd'],
    ['with a user name', 'http://user@127.0.0.1/'],
    ['to what is no URL', 'http://'],
    ['to another scheme', 'gopher://127.0.0.1/'],
  ] as const) {
    test(`a redirect ${what} is not followed, and not handed on`, async (t) => {
      const registry = await startMemoryRegistry();
      t.after(() => registry.close());
      registry.faults.add({ path: '/blobs/' }, { answer: { status: 307, headers: { location } } });
      const front = await startFront(
        t,
        `
upstreams: { s: { url: "${registry.url}" }, r: { url: "${registry.url}", blobs: redirect } }
routes: [{ prefix: "s/", upstream: s }, { prefix: "r/", upstream: r }]
`,
      );
      for (const place of ['s', 'r']) {
        assertError(await front.sendAs('alice', `/v2/${place}/app/blobs/${blob.digest}`), 503, 'UNAVAILABLE');
      }
    });
  }
});

describe('threat 8: realm, pagination link or Location taken unchecked', () => {
  test('a realm on another host gets no credential, and no request at all', async (t) => {
    const evil = await startMemoryRegistry({ auth: { kind: 'token', username: 'robot', password } });
    t.after(() => evil.close());
    const registry = await startMemoryRegistry({
      auth: { kind: 'token', username: 'robot', password, realm: evil.tokenUrl },
    });
    t.after(() => registry.close());
    registry.putImage('app', '1', image);
    const front = await startFront(
      t,
      `
upstreams: { one: { url: "${registry.url}", ${credentials} } }
routes: [{ prefix: "", upstream: one }]
`,
      { files: { secret: password } },
    );
    assertError(await front.sendAs('alice', '/v2/app/manifests/1'), 503, 'UNAVAILABLE');
    assert.deepEqual(evil.requests, []);
    await front.logLine((line) => line.level === 'error' && /realm/.test(String(line.message)));
  });

  test('where the configuration names it, it is asked', async (t) => {
    const registry = await startMemoryRegistry({
      auth: { kind: 'token', username: 'robot', password, origin: 'other' },
    });
    t.after(() => registry.close());
    registry.putImage('app', '1', image);
    const front = await startFront(
      t,
      `
upstreams: { one: { url: "${registry.url}", realm: "${registry.tokenUrl}", ${credentials} } }
routes: [{ prefix: "", upstream: one }]
`,
      { files: { secret: password } },
    );
    assert.equal((await front.sendAs('alice', '/v2/app/manifests/1')).status, 200);
  });

  describe('the Location of an upload', () => {
    const scope = sharedScope();
    let registry: MemoryRegistry;
    let evil: MemoryRegistry;
    let front: Front;

    before(async () => {
      registry = await startMemoryRegistry({ auth: { kind: 'basic', username: 'robot', password } });
      evil = await startMemoryRegistry();
      for (const one of [registry, evil]) scope.after(() => one.close());
      front = await startFront(
        scope,
        `
upstreams: { one: { url: "${registry.url}", ${credentials} } }
routes: [{ prefix: "", upstream: one }]
`,
        { files: { secret: password } },
      );
    });

    beforeEach(() => {
      registry.faults.clear();
      registry.forgetRequests();
    });

    const ask = (path: string, method: string) =>
      front.sendAs('alice', path, {
        method,
        ...(['POST', 'PATCH', 'PUT'].includes(method) && { body: 'hello' }),
      });
    const port = () => new URL(evil.url).port;

    for (const [what, location] of [
      ['another host', () => `http://localhost:${port()}/v2/app/blobs/uploads/1`],
      ['another host without a scheme', () => `//localhost:${port()}/v2/app/blobs/uploads/1`],
      ['a host that begins as ours', () => 'http://127.0.0.1.evil.test/v2/app/blobs/uploads/1'],
      ['the metadata address', () => 'http://169.254.169.254/latest/meta-data/'],
      ['the metadata address as a number', () => 'http://2852039166/latest/meta-data/'],
      ['our host as a user name', () => `http://127.0.0.1@localhost:${port()}/`],
      ['a user name', () => `http://user@${evil.host}/v2/app/blobs/uploads/1`],
      ['a user name and our own host', () => `http://user:x@${registry.host}/v2/app/blobs/uploads/1`],
      ['a file', () => 'file:///etc/passwd'],
      ['another protocol', () => `gopher://${evil.host}/`],
      ['what is no URL', () => 'http://'],
      ['nothing', () => ''],
    ] as const) {
      for (const method of ['POST', 'PATCH', 'GET'] as const) {
        test(`${what} in the answer to ${method}: 503, no Location, and nobody is asked there`, async () => {
          const session = await openUpload((path, options) => front.sendAs('alice', path, options), 'app');
          const remove = registry.faults.add({ method }, { headers: { location: location() } });
          const answer = await ask(method === 'POST' ? '/v2/app/blobs/uploads/' : session, method);
          remove();
          assertError(answer, 503, 'UNAVAILABLE');
          assert.equal(answer.headers.location, undefined);
          assert.deepEqual(evil.requests, []);
          await front.logLine((line) => line.level === 'error' && /Location/.test(String(line.message)));
        });
      }
    }

    for (const [what, location] of [
      ['another port', () => `${evil.url}/v2/app/blobs/uploads/1`],
      ['another scheme', () => `https://${evil.host}/v2/app/blobs/uploads/1`],
    ] as const) {
      test(`${what} of the same host is taken for the upstream's own, and nobody is asked there`, async () => {
        const remove = registry.faults.add({ method: 'POST' }, { headers: { location: location() } });
        const opened = await ask('/v2/app/blobs/uploads/', 'POST');
        remove();
        assert.equal(opened.status, 202, opened.text);
        assertError(await ask(opened.headers.location ?? '', 'PATCH'), 404, 'BLOB_UPLOAD_UNKNOWN');
        assert.deepEqual(evil.requests, []);
      });
    }

    for (const status of [301, 302, 303, 307, 308]) {
      for (const method of ['POST', 'PATCH', 'PUT', 'GET', 'DELETE'] as const) {
        test(`a ${status} as the answer to ${method} is not followed`, async () => {
          const session = await openUpload((path, options) => front.sendAs('alice', path, options), 'app');
          const headers = { location: `${evil.url}/v2/app/blobs/uploads/1` };
          const remove = registry.faults.add({ method }, { answer: { status, headers } });
          const digest = method === 'PUT' ? `?digest=${blob.digest}` : '';
          const answer = await ask(method === 'POST' ? '/v2/app/blobs/uploads/' : session + digest, method);
          remove();
          assertError(answer, 503, 'UNAVAILABLE');
          assert.deepEqual(evil.requests, []);
        });
      }
    }

    test('nor is one of a manifest that is put or deleted', async () => {
      const headers = { location: `${evil.url}/v2/app/manifests/1` };
      for (const method of ['PUT', 'DELETE']) {
        const remove = registry.faults.add({ method }, { answer: { status: 307, headers } });
        assertError(await ask('/v2/app/manifests/1', method), 503, 'UNAVAILABLE');
        remove();
      }
      assert.deepEqual(evil.requests, []);
    });
  });

  test('a link to a next page elsewhere is neither followed nor passed on', async (t) => {
    const registry = await startMemoryRegistry();
    t.after(() => registry.close());
    registry.putImage('app', '1', image);
    registry.putImage('secret', '1', image);
    const front = await startFront(
      t,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
`,
    );
    for (const target of [
      'http://evil.test/v2/app/tags/list?last=1',
      'http://169.254.169.254/latest/meta-data/?last=1',
      '//evil.test/v2/app/tags/list?last=1',
      '/v2/secret/tags/list?last=1',
      '/v2/app/../secret/tags/list?last=1',
      '/v2/_catalog?last=1',
      `http://user@${registry.host}/v2/app/tags/list?last=1`,
      'javascript:alert(1)',
    ]) {
      const remove = registry.faults.add(
        { path: '/tags/list' },
        { headers: { link: `<${target}>; rel="next"` } },
      );
      const answer = await front.sendAs('alice', '/v2/app/tags/list');
      remove();
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.link, undefined, target);
    }
    const remove = registry.faults.add(
      { path: '/tags/list' },
      { headers: { link: '</v2/app/tags/list?last="><x&n=1>; rel="next"' } },
    );
    const { link } = (await front.sendAs('alice', '/v2/app/tags/list')).headers as { link?: string };
    remove();
    if (link !== undefined) assert.match(link, /^<\/v2\/app\/tags\/list\?[^<>"\s]+>; rel="next"$/);
  });
});

describe('threat 9: a suffix match on host names', () => {
  const rules = {
    upstream: new URL('https://registry-1.docker.io'),
    tokenOrigins: ['https://auth.docker.io'],
  };

  for (const realm of [
    'https://evil-docker.io/token',
    'https://evil-auth.docker.io/token',
    'https://auth.docker.io.evil.test/token',
    'https://xauth.docker.io/token',
    'https://sub.auth.docker.io/token',
    'https://sub.registry-1.docker.io/token',
    'https://docker.io/token',
    'https://auth.docker.io:444/token',
    'https://auth.docker.io@evil.test/token',
    'https://evil.test/auth.docker.io/token',
    'https://evil.test#auth.docker.io',
    'http://auth.docker.io/token',
  ]) {
    test(`realm ${realm} is refused`, () => {
      assert.throws(() => checkRealm(realm, rules));
    });
  }

  test('the known ones are not', () => {
    for (const realm of ['https://auth.docker.io/token', 'https://registry-1.docker.io/v2/token']) {
      assert.equal(checkRealm(realm, rules).href, realm);
    }
  });

  test('a Host that ends as a served one is another host', async (t) => {
    const one = await startMemoryRegistry();
    t.after(() => one.close());
    const front = await startFront(
      t,
      `
upstreams: { one: { url: "${one.url}" } }
routes: [{ prefix: "", host: other.test, upstream: one }]
`,
    );
    one.putImage('app', '1', image);
    assert.equal((await front.sendAs('alice', '/v2/app/manifests/1', { host: 'other.test' })).status, 200);
    for (const host of [
      'evil-other.test',
      'sub.other.test',
      'other.test.evil.test',
      'other.test:81',
      'other.test.',
    ]) {
      assertError(await front.sendAs('alice', '/v2/app/manifests/1', { host }), 404, 'NAME_UNKNOWN');
    }
  });
});
