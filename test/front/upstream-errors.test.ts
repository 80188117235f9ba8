import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MemoryRegistry, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { type Answer, assertError, type Front, sharedScope, startFront } from '../harness/index.js';

const inside = 'inside-namespace';
const absent = `sha256:${'0'.repeat(64)}`;

function errorBody(code: string, message: string): string {
  return JSON.stringify({ errors: [{ code, message, detail: { secretDetail: inside } }] });
}

describe('what an upstream refuses', () => {
  const scope = sharedScope();
  const image = tinyImageFor('amd64', 'hello');
  const blob = image.blobs[0] ?? assert.fail();
  let registry: MemoryRegistry;
  let tokens: MemoryRegistry;
  let front: Front;

  before(async () => {
    registry = await startMemoryRegistry({ auth: { kind: 'basic', username: 'robot', password: 'right' } });
    tokens = await startMemoryRegistry({
      auth: { kind: 'token', username: 'robot', password: 'right', unknownRepositories: 'unauthorized' },
    });
    scope.after(() => registry.close());
    scope.after(() => tokens.close());
    registry.putImage(`${inside}/app`, '1', image);
    tokens.putImage(`${inside}/app`, '1', image);
    const credentials = 'credentials: { type: static, username: robot, password: { file: secret } }';
    front = await startFront(
      scope,
      `
upstreams:
  one: { url: "${registry.url}", ${credentials} }
  two: { url: "${tokens.url}", ${credentials} }
  none: { url: "${registry.url}" }
  down: { url: "http://127.0.0.1:${await unusedPort()}" }
routes:
  - { prefix: "a/", upstream: one, rewrite: ${inside}/ }
  - { prefix: "b/", upstream: two, rewrite: ${inside}/ }
  - { prefix: "none/", upstream: none, rewrite: ${inside}/ }
  - { prefix: "down/", upstream: down, rewrite: ${inside}/ }
`,
      { files: { secret: 'right' } },
    );
  });

  beforeEach(() => {
    for (const one of [registry, tokens]) {
      one.faults.clear();
      one.setCredentials('robot', 'right');
    }
  });

  const pull = (path: string, method = 'GET') => front.sendAs('alice', `/v2/${path}`, { method });

  /** Nothing of what stands behind our names. */
  function assertNothingShown(answer: Answer): void {
    const shown = `${answer.rawHeaders.join(' ')} ${answer.text}`;
    const hidden = [inside, registry.host, tokens.host, 'robot', 'memory-registry', '127.0.0.1'];
    for (const text of hidden) assert.ok(!shown.includes(text), `${text}: ${shown}`);
  }

  for (const [path, code] of [
    ['a/app/manifests/2', 'MANIFEST_UNKNOWN'],
    ['a/nothing/manifests/1', 'NAME_UNKNOWN'],
    [`a/app/blobs/${absent}`, 'BLOB_UNKNOWN'],
    [`a/nothing/blobs/${absent}`, 'NAME_UNKNOWN'],
    ['b/app/manifests/2', 'MANIFEST_UNKNOWN'],
    ['b/nothing/manifests/1', 'NAME_UNKNOWN'],
    ['b/nothing/tags/list', 'NAME_UNKNOWN'],
  ] as const) {
    test(`not there: ${path} is 404 ${code}, and a HEAD has no body`, async () => {
      const answer = await pull(path);
      assertError(answer, 404, code);
      assertNothingShown(answer);
      if (path.includes('/tags/')) return;
      const head = await pull(path, 'HEAD');
      assert.equal(head.status, 404);
      assert.equal(head.body.length, 0);
    });
  }

  for (const [what, status, body, expected, code] of [
    ['429', 429, errorBody('TOOMANYREQUESTS', 'slow down'), 429, 'TOOMANYREQUESTS'],
    ['500', 500, errorBody('UNKNOWN', 'boom'), 503, 'UNAVAILABLE'],
    ['502 in HTML', 502, '<html>boom</html>', 503, 'UNAVAILABLE'],
    ['503', 503, '', 503, 'UNAVAILABLE'],
    ['408', 408, '', 503, 'UNAVAILABLE'],
    ['a code of its own', 418, errorBody('TEAPOT', 'no coffee'), 418, 'UNKNOWN'],
    ['a 404 that says UNAUTHORIZED', 404, errorBody('UNAUTHORIZED', 'log in'), 404, 'MANIFEST_UNKNOWN'],
    [
      'a 400 that names what is inside',
      400,
      errorBody('MANIFEST_INVALID', `bad ${inside}/app`),
      400,
      'MANIFEST_INVALID',
    ],
    ['a 400 of a megabyte', 400, `{"errors":[{"code":"${'A'.repeat(1_000_000)}"}]}`, 503, 'UNAVAILABLE'],
    ['a 400 that is no registry error', 400, '<html>', 503, 'UNAVAILABLE'],
    ['an empty 404', 404, '', 404, 'MANIFEST_UNKNOWN'],
    ['a 201', 201, '{}', 503, 'UNAVAILABLE'],
    ['a redirect without end', 307, '', 503, 'UNAVAILABLE'],
  ] as const) {
    test(`${what}: ${expected} ${code}`, async () => {
      const headers = status === 307 ? { location: `${registry.url}/v2/${inside}/app/manifests/1` } : {};
      registry.faults.add({ path: '/manifests/' }, { answer: { status, body, headers } });
      const answer = await pull('a/app/manifests/1');
      assertError(answer, expected, code);
      assertNothingShown(answer);
    });
  }

  test('429 keeps Retry-After', async () => {
    const headers = { 'retry-after': '17' };
    registry.faults.add({ path: '/manifests/' }, { answer: { status: 429, headers } });
    assert.equal((await pull('a/app/manifests/1')).headers['retry-after'], '17');
  });

  for (const status of [401, 403]) {
    for (const place of ['a', 'b']) {
      test(`${status} for one repository of ${place}, while we are let in: 404 as if it were not there`, async () => {
        const upstream = place === 'a' ? registry : tokens;
        const challenge = `Bearer realm="${tokens.tokenUrl}",service="memory-registry"`;
        const headers = { 'www-authenticate': place === 'a' ? 'Basic realm="x"' : challenge };
        upstream.faults.add({ path: '/manifests/' }, { answer: { status, headers } });
        const answer = await pull(`${place}/app/manifests/1`);
        assertError(answer, 404, 'NAME_UNKNOWN');
        assertNothingShown(answer);
        assert.equal(answer.headers['www-authenticate'], undefined);
        assert.match(
          await front.metrics(),
          /upstream_repository_refusals_total\{upstream="(one|two)"\} [1-9]/,
        );
      });
    }
  }

  test('a credential is asked for, and there is none: 503', async () => {
    assertError(await pull('none/app/manifests/1'), 503, 'UNAVAILABLE');
  });

  test('a token that was revoked is fetched again, unseen', async () => {
    assert.equal((await pull('b/app/manifests/1')).status, 200);
    tokens.revokeTokens();
    assert.equal((await pull('b/app/manifests/1')).status, 200);
  });

  test('an upstream that is down: 503 for every operation', async () => {
    for (const path of ['manifests/1', `blobs/${blob.digest}`, 'tags/list', `referrers/${blob.digest}`]) {
      const answer = await pull(`down/app/${path}`);
      assertError(answer, 503, 'UNAVAILABLE');
      assertNothingShown(answer);
    }
    const line = await front.logLine((one) => one.event === 'access' && one.upstream === 'down');
    assert.equal(line.level, 'warn');
    assert.match(String(line.reason), /no answer/);
  });

  test('a connection that is reset before the answer: 503', async () => {
    registry.faults.add({ path: '/blobs/' }, { reset: true });
    assertError(await pull(`a/app/blobs/${blob.digest}`), 503, 'UNAVAILABLE');
  });

  test('another manifest than was asked for by digest: 503', async () => {
    registry.faults.add({ path: '/manifests/' }, { corruptAt: 3 });
    assertError(await pull(`a/app/manifests/${image.root.digest}`), 503, 'UNAVAILABLE');
  });

  test('it serves as if nothing had happened', async () => {
    assert.equal((await pull('a/app/manifests/1')).status, 200);
    assert.equal((await pull('b/app/manifests/1')).status, 200);
  });

  for (const place of ['a', 'b']) {
    test(`our credential is refused by ${place}: 503, never 401, and a loud line`, async () => {
      const upstream = place === 'a' ? registry : tokens;
      upstream.setCredentials('robot', 'changed');
      upstream.revokeTokens();
      const answer = await pull(`${place}/app/manifests/1`);
      assertError(answer, 503, 'UNAVAILABLE');
      assertNothingShown(answer);
      assert.equal(answer.headers['www-authenticate'], undefined);
      const line = await front.logLine(
        (one) => one.level === 'error' && /refuses our credential/.test(String(one.message)),
      );
      assert.match(String(line.upstream), /^(one|two)$/);
    });
  }

  test('and is taken again after a pause', async () => {
    for (const place of ['a', 'b']) {
      const isTaken = async () => (await pull(`${place}/app/manifests/1`)).status === 200;
      for (const end = Date.now() + 30_000; !(await isTaken()) && Date.now() < end; ) await sleep(200);
      assert.ok(await isTaken(), `by ${place}`);
    }
  });
});

/** A port that nobody listens on. */
function unusedPort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
