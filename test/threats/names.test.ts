import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { type MemoryRegistry, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import {
  assertErrorBody,
  basic,
  claimsOf,
  type Front,
  passwords,
  sendRaw,
  sharedScope,
  startFront,
} from '../harness/index.js';

/** As they stand in a request's target. */
const names: Readonly<Record<string, string>> = {
  'an encoded slash': 'open%2fsecret',
  'an encoded slash in upper case': 'open%2Fsecret',
  'a doubly encoded slash': 'open%252fsecret',
  'encoded dots': 'open/%2e%2e/secret',
  'half encoded dots': 'open/.%2e/secret',
  'doubly encoded dots': 'open/%252e%252e/secret',
  dots: 'open/../secret',
  'dots first': '../secret/app',
  'one dot': 'open/./app',
  'an encoded letter': 'o%70en/app',
  'a backslash': 'open\\..\\secret',
  'an encoded backslash': 'open%5c..%5csecret',
  'two slashes': 'open//app',
  'a slash first': '/open/app',
  'a slash last': 'open/app/',
  'upper case': 'Open/app',
  'upper case inside': 'open/App',
  'a NUL': 'open/app%00',
  'a line end': 'open/app%0d%0aX-A:%20b',
  'a tab': 'open/app%09',
  'a space': 'open/a%20b',
  'a plus': 'open/a+b',
  'a colon': 'open/app:1',
  'an at': 'open/app@x',
  'a host': 'evil.test:5000/app',
  'a URL': 'http://evil.test/app',
  'a semicolon': 'open/app;x=y',
  'a dash first': '-open/app',
  'a dash last': 'open/app-',
  'three underscores': 'open/a___b',
  'two dots': 'open/a..b',
  'a dotless i': 'open/%C4%B1',
  'a full-width letter': 'open/%EF%BD%81',
  'a Kelvin sign': 'open/%E2%84%AA',
  'overlong UTF-8': 'open/%c0%ae%c0%ae/secret',
  '256 characters': 'a'.repeat(256),
  '256 characters after the rewriting': 'a'.repeat(250),
  'ten thousand characters': 'a/'.repeat(5_000),
};

/** What some of them are once a form is decoded; a host in a scope is dropped, for the service says which is meant. */
const valid = ['open/secret', 'open/app', 'app'];

const operations = [
  'manifests/1',
  `blobs/sha256:${'0'.repeat(64)}`,
  'tags/list',
  'blobs/uploads/',
  'blobs/uploads/session',
  `blobs/uploads/?mount=sha256:${'0'.repeat(64)}&from=app`,
  `blobs/uploads/session?digest=sha256:${'0'.repeat(64)}`,
  `referrers/sha256:${'0'.repeat(64)}`,
];

describe('threat 18: an encoded slash, a dot segment or upper case in a repository name', () => {
  const scope = sharedScope();
  let registry: MemoryRegistry;
  let front: Front;

  before(async () => {
    registry = await startMemoryRegistry();
    scope.after(() => registry.close());
    registry.putImage('team/open/app', '1', tinyImageFor('amd64', 'hello'));
    registry.putImage('team/secret/app', '1', tinyImageFor('amd64', 'hello'));
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one, rewrite: team-behind/ }]
policy: [{ names: ["local:alice"], repositories: ["**"], actions: [pull, push, delete] }]
`,
    );
  });

  const isTooLongOnlyUpstream = (name: string) => name.length === 250;

  for (const [what, name] of Object.entries(names)) {
    test(`${what}: no request, no challenge and no token speaks of it`, async () => {
      registry.forgetRequests();
      const signedIn = `Authorization: ${basic('alice', passwords.alice)}\r\n`;
      for (const operation of operations) {
        for (const method of ['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE']) {
          for (const authorization of ['', signedIn]) {
            const { messages, end } = await sendRaw(
              front.port,
              `${method} /v2/${name}/${operation} HTTP/1.1\r\nHost: docker.test\r\n${authorization}Connection: close\r\n\r\n`,
            );
            const [answer] = messages;
            if (method === 'HEAD') {
              assert.notEqual(end, 'open');
              continue;
            }
            // What our own rewriting makes of a name is not told before somebody is let in.
            if (answer?.status === 401 && authorization === '' && isTooLongOnlyUpstream(name)) continue;
            assert.ok(
              [400, 404, 405].includes(answer?.status ?? 0),
              `${method} ${operation}: ${answer?.status} ${answer?.body}`,
            );
            assert.equal(answer?.headers.has('www-authenticate'), false, 'no challenge');
            const code =
              (JSON.parse(answer?.body ?? '') as { errors: { code: string }[] }).errors[0]?.code ?? '';
            assertErrorBody(answer?.body ?? '', code);
          }
        }
      }
      assert.deepEqual(
        registry.requests.map((request) => request.path),
        [],
        'the upstream never sees it',
      );

      if (isTooLongOnlyUpstream(name) || name.length > 5_000) return;
      for (const written of [name, decodeOnce(name)]) {
        const token = await front.token('alice', [`repository:${written}:pull`]);
        const { access } = claimsOf(token);
        assert.ok(
          access.every((one) => valid.includes(one.name)),
          JSON.stringify(access),
        );
      }
    });
  }

  test('a ping with something behind it is no ping', async () => {
    for (const target of [
      '/v2/.',
      '/v2/..',
      '/v2/../v2/',
      '/v2/%2e',
      '/v2//',
      '//v2/',
      '/v2/;',
      '/V2/',
      '/v2/%00',
      '/%762/',
    ]) {
      const answer = await sendRaw(
        front.port,
        `GET ${target} HTTP/1.1\r\nHost: docker.test\r\nAuthorization: ${basic('alice', passwords.alice)}\r\nConnection: close\r\n\r\n`,
      );
      assert.ok((answer.messages[0]?.status ?? 0) >= 400, target);
    }
  });

  test('the source of a mount is a name like any other', async () => {
    registry.forgetRequests();
    for (const name of Object.values(names)) {
      if (name.length > 1000 || name.includes('\\') || isTooLongOnlyUpstream(name)) continue;
      // A query's value is decoded once: these are names then, and their own rules hold.
      if (['open/secret', 'open/app'].includes(decodeOnce(name))) continue;
      const path = `/v2/app/blobs/uploads/?mount=sha256:${'0'.repeat(64)}&from=${name}`;
      const answer = await front.sendAs('alice', path, { method: 'POST' });
      const code = (JSON.parse(answer.text) as { errors: { code: string }[] }).errors[0]?.code;
      assert.equal(code, 'NAME_INVALID', name);
    }
    assert.deepEqual(registry.requests, [], 'the upstream never sees it');
  });

  test('every valid name goes up as it is', async () => {
    await front.sendAs('alice', '/v2/a/manifests/1'); // the first request pings before
    for (const name of [
      'a',
      'a/b',
      'a.b_c__d-e---f/0',
      'manifests/blobs/tags/list',
      'a/uploads',
      '0'.repeat(200),
    ]) {
      registry.forgetRequests();
      await front.sendAs('alice', `/v2/${name}/manifests/1`);
      assert.deepEqual(
        registry.requests.map((request) => request.path),
        [`/v2/team-behind/${name}/manifests/1`],
      );
    }
  });
});

function decodeOnce(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
