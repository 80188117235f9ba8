import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { parseChallenges } from '../../src/protocol/challenge.js';
import { digestOf } from '../../src/reference/digest.js';
import { type MemoryRegistry, startMemoryRegistry } from '../../src/testing/index.js';
import {
  type Answer,
  assertError,
  bearer,
  closeUpload,
  type Front,
  locationOf,
  sharedScope,
  startFront,
  type User,
} from '../harness/index.js';

const bytes = Buffer.from('a base layer');
const digest = digestOf(bytes);
const absent = digestOf(Buffer.from('nowhere'));

describe('mounting', () => {
  const scope = sharedScope();
  let one: MemoryRegistry;
  let two: MemoryRegistry;
  let front: Front;

  before(async () => {
    [one, two] = [await startMemoryRegistry(), await startMemoryRegistry()];
    for (const registry of [one, two]) scope.after(() => registry.close());
    for (const name of ['inside/base', 'inside/secret/app', 'library/base']) one.putBlob(name, bytes);
    two.putBlob('base', bytes);
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "${one.url}", defaultNamespace: library }, two: { url: "${two.url}" } }
routes:
  - { prefix: "", upstream: one, rewrite: inside/ }
  - { prefix: "hub/", upstream: one }
  - { prefix: "two/", upstream: two }
policy:
  - { names: ["local:alice"], repositories: ["**"], actions: [pull, push] }
  - { names: ["local:bob"], repositories: ["mine/**", "hub/library/mine"], actions: [pull, push] }
  - { names: ["local:bob"], repositories: ["base", "two/base", "hub/library/base"], actions: [pull] }
  - { names: ["local:bob"], repositories: ["secret/**"], actions: [push] }
`,
    );
  });

  let count = 0;
  let target = '';

  beforeEach(() => {
    target = `mine/app-${++count}`;
    for (const registry of [one, two]) {
      registry.faults.clear();
      registry.forgetRequests();
    }
  });

  const mountPath = (from: string | undefined, what: string = digest, into = target) =>
    `/v2/${into}/blobs/uploads/?mount=${encodeURIComponent(what)}${from === undefined ? '' : `&from=${from}`}`;
  const mount = (user: User, from: string | undefined, what?: string, into?: string) =>
    front.sendAs(user, mountPath(from, what, into), { method: 'POST' });

  /** What the upstreams were asked to do, without pings. */
  const asked = () =>
    [...one.requests, ...two.requests].filter(({ method }) => method === 'POST').map(({ path }) => path);
  const lineOf = (answer: Answer) =>
    front.logLine((line) => line.requestId === answer.headers['x-request-id']);

  /** A session was opened, and the upstream knows of no mount. */
  async function assertPlain(answer: Answer): Promise<void> {
    assert.equal(answer.status, 202, answer.text);
    assert.deepEqual(asked(), [`/v2/inside/${target}/blobs/uploads/`]);
    assert.equal(one.store.blob(`inside/${target}`, digest), undefined, 'it was mounted');
    assert.equal((await lineOf(answer)).mountedFrom, undefined);
  }

  for (const user of ['alice', 'bob'] as const) {
    test(`from where ${user} may pull: 201, and the blob is there`, async () => {
      const answer = await mount(user, 'base');
      assert.equal(answer.status, 201, answer.text);
      assert.equal(locationOf(answer), `/v2/${target}/blobs/${digest}`);
      assert.equal(answer.headers['docker-content-digest'], digest);
      const [path = ''] = asked();
      const query = new URL(path, one.url).searchParams;
      assert.deepEqual([query.get('mount'), query.get('from')], [digest, 'inside/base']);
      assert.ok(one.store.blob(`inside/${target}`, digest), 'it is not there');
      assert.deepEqual((await front.sendAs(user, `/v2/${target}/blobs/${digest}`)).body, bytes);
      const line = await lineOf(answer);
      assert.deepEqual(
        [line.mountedFrom, line.repository, line.digest, line.upstreamRepository],
        ['base', target, digest, `inside/${target}`],
      );
    });
  }

  for (const [what, from] of [
    ['without pull there', 'secret/app'],
    ['without any rule there', 'nobody/app'],
    ['from another upstream', 'two/base'],
    ['without a source', undefined],
    ['with an empty source', ''],
  ] as const) {
    test(`${what}: an upload is opened, and the upstream never asked to mount`, async () => {
      await assertPlain(await mount('bob', from));
    });
  }

  test('what is opened instead of a mount takes the blob', async () => {
    const answer = await mount('bob', 'secret/app');
    const put = await closeUpload(
      (path, options) => front.sendAs('bob', path, options),
      locationOf(answer),
      digest,
      bytes,
    );
    assert.equal(put.status, 201, put.text);
    assert.ok(one.store.blob(`inside/${target}`, digest), 'it is not there');
  });

  test('a source where nobody may pull is as one that does not exist', async () => {
    const shape = async (from: string) => {
      const { status, headers, text } = await mount('bob', from);
      const { date: _, location = '', 'docker-upload-uuid': __, 'x-request-id': ___, ...others } = headers;
      return { status, text, others, location: location.replace(/uploads\/.*/, '') };
    };
    assert.deepEqual(await shape('secret/app'), await shape('secret/non'));
  });

  for (const [what, from, digestWanted] of [
    ['a blob that the source does not have', 'base', absent],
    ['a source that does not exist', 'no/such', digest],
  ] as const) {
    test(`${what}: 202, and the log names no source`, async () => {
      const answer = await mount('alice', from, digestWanted);
      assert.equal(answer.status, 202, answer.text);
      assert.equal(one.store.blob(`inside/${target}`, digestWanted), undefined);
      assert.equal((await lineOf(answer)).mountedFrom, undefined);
    });
  }

  for (const status of [400, 403, 404, 405]) {
    test(`an upstream that answers a mount with ${status}: an upload is opened`, async () => {
      one.faults.add({ path: 'mount=' }, { answer: { status } });
      const answer = await mount('alice', 'base');
      assert.equal(answer.status, 202, answer.text);
      assert.match(locationOf(answer), new RegExp(`^/v2/${target}/blobs/uploads/[A-Za-z0-9_-]+$`));
    });
  }

  test('both names are canonical ones', async () => {
    one.store.deleteBlob('library/mine', digest);
    const answer = await mount('bob', 'hub/base', digest, 'hub/mine');
    assert.equal(answer.status, 201, answer.text);
    assert.equal(locationOf(answer), `/v2/hub/mine/blobs/${digest}`);
    const query = new URL(asked()[0] ?? '', one.url);
    assert.equal(query.pathname, '/v2/library/mine/blobs/uploads/');
    assert.equal(query.searchParams.get('from'), 'library/base');
    const line = await lineOf(answer);
    assert.deepEqual([line.repository, line.mountedFrom], ['hub/library/mine', 'hub/library/base']);
  });

  test('across two routes of one upstream', async () => {
    const answer = await mount('bob', 'hub/base');
    assert.equal(answer.status, 201, answer.text);
    assert.equal((await lineOf(answer)).mountedFrom, 'hub/library/base');
  });

  describe('with a token', () => {
    const withToken = async (user: User, scopes: readonly string[], from: string) => {
      const headers = { authorization: bearer(await front.token(user, scopes)) };
      one.forgetRequests();
      return front.send(mountPath(from), { method: 'POST', headers });
    };

    test('for both repositories: mounted', async () => {
      const scopes = [`repository:${target}:pull,push`, 'repository:base:pull'];
      assert.equal((await withToken('bob', scopes, 'base')).status, 201);
    });

    test('with the source’s canonical name: mounted', async () => {
      const scopes = [`repository:${target}:pull,push`, 'repository:hub/base:pull'];
      assert.equal((await withToken('bob', scopes, 'hub/base')).status, 201);
    });

    for (const [what, scopes] of [
      ['only the target', ['']],
      ['push on the source', ['repository:base:push']],
      ['pull on another repository', ['repository:hub/base:pull']],
    ] as const) {
      test(`for ${what}: an upload is opened, though the policy would allow the mount`, async () => {
        await assertPlain(await withToken('alice', [`repository:${target}:pull,push`, ...scopes], 'base'));
      });
    }

    for (const actions of ['pull', 'push']) {
      test(`with ${actions} alone on the target: 401`, async () => {
        const scopes = [`repository:${target}:${actions}`, 'repository:base:pull'];
        assertError(await withToken('alice', scopes, 'base'), 401, 'UNAUTHORIZED');
        assert.deepEqual(asked(), []);
      });
    }
  });

  for (const [from, into, scopes] of [
    ['base', 'mine/x', 'repository:mine/x:pull,push repository:base:pull'],
    ['hub/base', 'hub/mine', 'repository:hub/library/mine:pull,push repository:hub/library/base:pull'],
    ['two/base', 'mine/x', 'repository:mine/x:pull,push repository:two/base:pull'],
    [undefined, 'mine/x', 'repository:mine/x:pull,push'],
  ] as const) {
    test(`the challenge for a mount from ${from} into ${into} names ${scopes}`, async () => {
      const answer = await front.send(mountPath(from, digest, into), { method: 'POST' });
      assertError(answer, 401, 'UNAUTHORIZED');
      const [challenge] = parseChallenges(answer.headers['www-authenticate'] ?? '');
      assert.equal(challenge?.parameters.get('scope'), scopes);
    });
  }

  test('from a name that no route takes: asked for in the challenge as any other, and never mounted', async (t) => {
    const narrow = await startFront(
      t,
      `
upstreams: { one: { url: "${one.url}" } }
routes: [{ prefix: "mine/", upstream: one, rewrite: inside/mine/ }]
`,
    );
    const path = mountPath('base');
    const nobody = await narrow.send(path, { method: 'POST' });
    const scopes = `scope="repository:${target}:pull,push repository:base:pull"`;
    assert.ok(nobody.headers['www-authenticate']?.includes(scopes), nobody.headers['www-authenticate']);
    const answer = await narrow.sendAs('alice', path, { method: 'POST' });
    assert.equal(answer.status, 202, answer.text);
    assert.deepEqual(asked(), [`/v2/inside/${target}/blobs/uploads/`]);
  });

  test('a source or a digest that is none is refused', async () => {
    assertError(await mount('alice', 'No/Such'), 400, 'NAME_INVALID');
    assertError(await mount('alice', 'base', 'sha256:x'), 400, 'DIGEST_INVALID');
    assert.deepEqual(asked(), []);
  });

  test('who may only pull mounts nothing', async () => {
    assertError(await mount('bob', 'hub/base', digest, 'base'), 403, 'DENIED');
    assertError(await mount('eve', 'base'), 403, 'DENIED');
    assert.deepEqual(asked(), []);
  });
});
