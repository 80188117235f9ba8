import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { type MemoryRegistry, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import {
  type Answer,
  basic,
  bearer,
  type Front,
  passwords,
  sharedScope,
  startFront,
} from '../harness/index.js';

const image = tinyImageFor('amd64', 'hello');
const blob = image.blobs[0] ?? assert.fail();

/** All of a message but what is of this one request. Names are as long as each other, so that lengths are compared. */
function shape(answer: Answer, name: string): string {
  const headers: string[] = [];
  for (let i = 0; i < answer.rawHeaders.length; i += 2) {
    const header = answer.rawHeaders[i] ?? '';
    const value = /^(date|x-request-id)$/i.test(header) ? '…' : answer.rawHeaders[i + 1];
    headers.push(`${header}: ${value}`);
  }
  return `${answer.status}\n${headers.join('\n')}\n\n${answer.text}`.replaceAll(name, 'NAME');
}

describe('threat 19: an answer reveals which private repositories exist', () => {
  const scope = sharedScope();
  const clock = new FakeClock(Date.now());
  let registry: MemoryRegistry;
  let front: Front;

  before(async () => {
    registry = await startMemoryRegistry();
    scope.after(() => registry.close());
    registry.putImage('secret/there', '1', image);
    registry.putImage('open/there', '1', image);
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "secret/", upstream: one, rewrite: secret/ }, { prefix: "open/", upstream: one, rewrite: open/ }]
`,
      { clock },
    );
  });

  const there = 'secret/there';
  const others = { absent: 'secret/absnt', 'without a route': 'nobody/there' };

  const wanted: readonly (readonly [string, (name: string) => string])[] = [
    ['GET', (name) => `${name}/manifests/1`],
    ['HEAD', (name) => `${name}/manifests/1`],
    ['GET', (name) => `${name}/manifests/${image.root.digest}`],
    ['PUT', (name) => `${name}/manifests/1`],
    ['DELETE', (name) => `${name}/manifests/1`],
    ['GET', (name) => `${name}/blobs/${blob.digest}`],
    ['HEAD', (name) => `${name}/blobs/${blob.digest}`],
    ['DELETE', (name) => `${name}/blobs/${blob.digest}`],
    ['POST', (name) => `${name}/blobs/uploads/`],
    ['POST', (name) => `${name}/blobs/uploads/?digest=${blob.digest}`],
    ['POST', (name) => `${name}/blobs/uploads/?mount=${blob.digest}&from=open/there`],
    ['POST', (name) => `open/there/blobs/uploads/?mount=${blob.digest}&from=${name}`],
    ['PATCH', (name) => `${name}/blobs/uploads/session`],
    ['PUT', (name) => `${name}/blobs/uploads/session?digest=${blob.digest}`],
    ['GET', (name) => `${name}/blobs/uploads/session`],
    ['DELETE', (name) => `${name}/blobs/uploads/session`],
    ['GET', (name) => `${name}/tags/list`],
    ['GET', (name) => `${name}/referrers/${image.root.digest}`],
  ];

  const shows: Readonly<Record<string, (name: string) => Promise<string | undefined>>> = {
    anonymous: async () => undefined,
    'Basic without rights': async () => basic('eve', passwords.eve),
    'Basic with rights elsewhere': async () => basic('bob', passwords.bob),
    'a wrong password': async () => basic('alice', 'wrong'),
    'a bad token': async () => bearer('x.y.z'),
    'a token that asked for it and got nothing': async (name) =>
      bearer(await front.token('bob', [`repository:${name}:pull,push,delete`])),
    'a token for another repository': async () =>
      bearer(await front.token('bob', ['repository:open/there:pull'])),
  };

  for (const [what, show] of Object.entries(shows)) {
    for (const [kind, other] of Object.entries(others)) {
      test(`${what}: existing and ${kind} are the same answer, byte for byte`, async () => {
        const ours = await show(there);
        const theirs = await show(other);
        registry.forgetRequests();
        for (const [method, path] of wanted) {
          const ask = (name: string, authorization: string | undefined) => {
            clock.advance(7_000); // wrong passwords are slowed down, and tokens live for minutes
            const headers = authorization === undefined ? {} : { authorization };
            return front.send(`/v2/${path(name)}`, { method, headers });
          };
          const first = shape(await ask(there, ours), there);
          assert.match(first, /^(401|403)\n/);
          assert.equal(first, shape(await ask(other, theirs), other));
        }
        assert.deepEqual(registry.requests, [], 'the upstream is not even asked');
      });
    }
  }

  test('the token endpoint tells no difference either', async () => {
    for (const [user, password] of [
      ['bob', passwords.bob],
      ['', ''],
    ] as const) {
      for (const other of Object.values(others)) {
        const ask = (name: string) =>
          front.send(`/token?scope=repository:${name}:pull`, {
            headers: { authorization: basic(user, password) },
          });
        const strip = (answer: Answer) =>
          shape(answer, 'x')
            .replace(/"(token|access_token|issued_at)":"[^"]*"/g, '"$1":""')
            .replace(/content-length: .*/i, '');
        assert.equal(strip(await ask(there)), strip(await ask(other)));
      }
    }
  });

  test('who may see it sees the difference', async () => {
    clock.advance(61_000);
    assert.equal((await front.sendAs('alice', `/v2/${there}/manifests/1`)).status, 200);
    assert.equal((await front.sendAs('alice', `/v2/${others.absent}/manifests/1`)).status, 404);
  });
});
