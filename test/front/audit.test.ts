import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf } from '../../src/reference/digest.js';
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

type Line = Readonly<Record<string, unknown>>;

describe('the audit log', () => {
  const scope = sharedScope();
  const image = tinyImageFor('amd64', 'hello');
  const blob = image.blobs[0] ?? assert.fail();
  const pushed = Buffer.from('a blob that nobody has');
  const digest = digestOf(pushed);
  let registry: MemoryRegistry;
  let front: Front;

  before(async () => {
    registry = await startMemoryRegistry();
    scope.after(() => registry.close());
    registry.putImage('team/app', '1', image);
    registry.putImage('team/base', '1', image);
    front = await startFront(
      scope,
      `
audit: { file: audit.jsonl }
token: { ttl: 60s, refreshTokens: { idle: 1h, absolute: 1d } }
trustedProxies: [127.0.0.1]
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "open/", upstream: one, rewrite: team/ }, { prefix: "closed/", upstream: one, rewrite: team/ }]
`,
    );
  });

  function linesOf(answer: Answer): readonly Line[] {
    const file = join(front.directory, 'audit.jsonl');
    if (!existsSync(file)) return [];
    const whole = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    const lines = whole.map((line) => JSON.parse(line) as Line);
    return lines.filter(({ requestId }) => requestId === answer.headers['x-request-id']);
  }

  /** The one line of an exchange, without what differs from run to run. */
  async function lineOf(asked: Promise<Answer>): Promise<Line> {
    const answer = await asked;
    for (let i = 0; i < 250 && linesOf(answer).length === 0; i++) await sleep(20);
    const [line, ...more] = linesOf(answer);
    assert.ok(line, `a line for ${answer.status} ${answer.text}`);
    assert.deepEqual(more, []);
    const { audit, time, requestId: _, ...rest } = line;
    assert.equal(audit, 1);
    assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    return rest;
  }

  /** Lines come in the order of exchanges: where a later one has its line, an earlier one will have none. */
  async function hasNone(asked: Promise<Answer>, status: number): Promise<Answer> {
    const answer = await asked;
    assert.equal(answer.status, status, answer.text);
    await lineOf(front.sendAs('bob', '/token?service=docker.test'));
    assert.deepEqual(linesOf(answer), []);
    return answer;
  }

  const from = { 'x-forwarded-for': '203.0.113.9' };
  const common = { address: '203.0.113.9', service: 'docker.test' };
  const alice = { principal: 'local:alice', verifier: 'local', user: 'alice' };
  const bob = { principal: 'local:bob', verifier: 'local', user: 'bob' };
  const app = { repository: 'open/app', upstream: 'one', upstreamRepository: 'team/app' };

  const as = (user: keyof typeof passwords, path: string, method = 'GET', body?: Buffer) => {
    const headers = { ...from, authorization: basic(user, passwords[user]) };
    return front.send(path, { method, headers, ...(body && { body }) });
  };
  const withToken = (token: string, path: string, method = 'GET') =>
    front.send(path, { method, headers: { ...from, authorization: bearer(token) } });

  describe('tells of a pull', () => {
    const pull = { ...common, event: 'pull', result: 'ok', action: 'pull', ...app, status: 200 };

    test('of a manifest by tag, with a password', async () => {
      assert.deepEqual(await lineOf(as('bob', '/v2/open/app/manifests/1')), {
        ...pull,
        ...bob,
        object: 'manifest',
        tag: '1',
        digest: image.root.digest,
        rules: ['policy[1]'],
        bytes: image.root.bytes.length,
      });
    });

    test('of a blob, with a token', async () => {
      const token = await front.token('bob', ['repository:open/app:pull']);
      assert.deepEqual(await lineOf(withToken(token, `/v2/open/app/blobs/${blob.digest}`)), {
        ...pull,
        principal: 'local:bob',
        verifier: 'local',
        object: 'blob',
        digest: blob.digest,
        bytes: blob.size,
      });
    });

    test('that found nothing', async () => {
      const line = await lineOf(as('bob', '/v2/open/app/manifests/absent'));
      assert.deepEqual(line, {
        ...pull,
        ...bob,
        result: 'failed',
        object: 'manifest',
        tag: 'absent',
        rules: ['policy[1]'],
        status: 404,
        bytes: 0,
        error: 'MANIFEST_UNKNOWN',
        reason: 'the upstream answers 404 MANIFEST_UNKNOWN',
      });
    });

    test('that the upstream cut', async () => {
      const remove = registry.faults.add({ path: '/blobs/' }, { cutAfter: 10 });
      const line = await lineOf(as('bob', `/v2/open/app/blobs/${blob.digest}`));
      remove();
      assert.deepEqual([line.event, line.result, line.status], ['pull', 'failed', 200]);
      assert.match(String(line.reason), /^the transfer broke off/);
    });

    test('of what no route has', async () => {
      const line = await lineOf(as('alice', '/v2/elsewhere/app/manifests/1'));
      assert.deepEqual([line.event, line.result, line.error], ['pull', 'failed', 'NAME_UNKNOWN']);
      assert.deepEqual([line.repository, line.upstream], ['elsewhere/app', undefined]);
    });
  });

  describe('tells of a push', () => {
    const uploads = '/v2/open/app/blobs/uploads/';
    const push = {
      ...common,
      ...alice,
      event: 'push',
      result: 'ok',
      action: 'pull,push',
      ...app,
      status: 201,
    };

    test('of a blob in pieces once, at its end', async () => {
      const opened = await hasNone(as('alice', uploads, 'POST'), 202);
      const fed = await hasNone(as('alice', String(opened.headers.location), 'PATCH', pushed), 202);
      const last = `${fed.headers.location}?digest=${digest}`;
      const expected = { ...push, object: 'blob', digest, rules: ['policy[0]'], bytes: 0 };
      assert.deepEqual(await lineOf(as('alice', last, 'PUT')), expected);
    });

    test('of a blob at once', async () => {
      const line = await lineOf(as('alice', `${uploads}?digest=${digest}`, 'POST', pushed));
      const expected = { ...push, object: 'blob', digest, rules: ['policy[0]'], bytes: pushed.length };
      assert.deepEqual(line, expected);
    });

    test('of a blob from another repository', async () => {
      const line = await lineOf(as('alice', `${uploads}?mount=${blob.digest}&from=open/base`, 'POST'));
      const mounted = { digest: blob.digest, mountedFrom: 'open/base', bytes: 0 };
      assert.deepEqual(line, { ...push, object: 'blob', ...mounted, rules: ['policy[0]'] });
    });

    test('of a manifest by tag', async () => {
      const headers = {
        ...from,
        authorization: basic('alice', passwords.alice),
        'content-type': image.root.mediaType,
      };
      const body = Buffer.from(image.root.bytes);
      const line = await lineOf(front.send('/v2/open/app/manifests/2', { method: 'PUT', headers, body }));
      const manifest = { object: 'manifest', tag: '2', digest: image.root.digest, bytes: body.length };
      assert.deepEqual(line, { ...push, ...manifest, rules: ['policy[0]'] });
    });

    test('to a session that is none', async () => {
      const line = await lineOf(as('alice', `${uploads}forged`, 'PATCH', pushed));
      assert.deepEqual(
        [line.event, line.result, line.object, line.error],
        ['push', 'failed', 'upload', 'BLOB_UPLOAD_UNKNOWN'],
      );
    });

    test('and not of one that was given up', async () => {
      const opened = await hasNone(as('alice', uploads, 'POST'), 202);
      await hasNone(as('alice', String(opened.headers.location), 'DELETE'), 204);
    });
  });

  test('tells of a delete', async () => {
    registry.putImage('team/app', 'old', tinyImageFor('amd64', 'old'));
    const old = tinyImageFor('amd64', 'old').root.digest;
    assert.deepEqual(await lineOf(as('alice', `/v2/open/app/manifests/${old}`, 'DELETE')), {
      ...common,
      ...alice,
      ...app,
      event: 'delete',
      result: 'ok',
      object: 'manifest',
      action: 'delete',
      digest: old,
      rules: ['policy[0]'],
      status: 202,
    });
  });

  describe('tells of a login', () => {
    const login = { ...common, event: 'login', result: 'ok', object: 'token', status: 200 };

    test('with a password, what was granted and by which rule', async () => {
      const query =
        'service=docker.test&scope=repository:open/app:pull,push&scope=repository:closed/app:pull';
      assert.deepEqual(await lineOf(as('bob', `/token?${query}`)), {
        ...login,
        ...bob,
        granted: ['repository:open/app:pull'],
        rules: ['policy[1]'],
      });
    });

    test('with a refresh token', async () => {
      const first = await as('bob', '/token?service=docker.test&offline_token=true');
      const { refresh_token } = JSON.parse(first.text) as { refresh_token: string };
      const again = (token: string) => {
        const form = { grant_type: 'refresh_token', service: 'docker.test', refresh_token: token };
        const headers = { ...from, 'content-type': 'application/x-www-form-urlencoded' };
        return front.send('/token', { method: 'POST', headers, body: String(new URLSearchParams(form)) });
      };
      const line = await lineOf(again(refresh_token));
      assert.deepEqual([line.event, line.result, line.principal], ['login', 'ok', 'local:bob']);
      const forged = await lineOf(again(`${refresh_token}x`));
      assert.deepEqual([forged.event, forged.object, forged.principal], ['refusal', 'token', undefined]);
    });
  });

  describe('tells of a refusal', () => {
    const refusal = { ...common, event: 'refusal', result: 'refused' };
    const manifest = { object: 'manifest', action: 'pull', repository: 'closed/app', tag: '1' };
    const wrong = { ...from, authorization: basic('bob', 'a guess') };

    test('of who has no right', async () => {
      assert.deepEqual(await lineOf(as('bob', '/v2/closed/app/manifests/1')), {
        ...refusal,
        ...manifest,
        ...bob,
        status: 403,
        error: 'DENIED',
        reason: 'no rule allows it',
      });
    });

    test('of a token for something else', async () => {
      const token = await front.token('bob', ['repository:open/app:pull']);
      assert.deepEqual(await lineOf(withToken(token, '/v2/closed/app/manifests/1', 'HEAD')), {
        ...refusal,
        ...manifest,
        principal: 'local:bob',
        verifier: 'local',
        status: 401,
        error: 'UNAUTHORIZED',
        reason: 'the token does not grant it',
      });
    });

    test('of a token that is none of ours', async () => {
      const line = await lineOf(withToken('x.y.z', '/v2/open/app/tags/list'));
      assert.deepEqual([line.event, line.object, line.status], ['refusal', 'tags', 401]);
      assert.deepEqual([line.principal, line.repository], [undefined, 'open/app']);
    });

    test('of a wrong password, here and there', async () => {
      const known = { user: 'bob', verifier: 'local', status: 401, error: 'UNAUTHORIZED' };
      for (const path of ['/v2/', '/v2/open/app/manifests/1', '/token?service=docker.test']) {
        const { object, action, repository, tag, reason, ...line } = await lineOf(
          front.send(path, { headers: wrong }),
        );
        assert.deepEqual(line, { ...refusal, ...known }, path);
      }
    });

    test('of an Authorization header that cannot be understood', async () => {
      const headers = { ...from, authorization: 'Digest x' };
      for (const path of ['/v2/open/app/manifests/1', '/token?service=docker.test']) {
        const line = await lineOf(front.send(path, { headers }));
        assert.deepEqual([line.event, line.status], ['refusal', 401], path);
      }
    });

    test('of a service that is none of ours', async () => {
      const line = await lineOf(as('bob', '/token?service=elsewhere.test'));
      assert.deepEqual([line.event, line.service, line.status], ['refusal', 'elsewhere.test', 403]);
    });

    test('of too many guesses', async () => {
      const headers = (i: number) => ({ ...from, authorization: basic('eve', `guess ${i}`) });
      for (let i = 0; i < 10; i++) await front.send('/v2/', { headers: headers(i) });
      const line = await lineOf(front.send('/v2/', { headers: headers(10) }));
      assert.deepEqual([line.event, line.status, line.error], ['refusal', 429, 'TOOMANYREQUESTS']);
    });
  });

  test('is silent about what asks only', async () => {
    for (const [path, method, status] of [
      ['/v2/', 'GET', 200],
      ['/v2/open/app/manifests/1', 'HEAD', 200],
      [`/v2/open/app/blobs/${blob.digest}`, 'HEAD', 200],
      ['/v2/open/app/manifests/absent', 'HEAD', 404],
      ['/v2/open/app/tags/list', 'GET', 200],
      [`/v2/open/app/referrers/${blob.digest}`, 'GET', 200],
    ] as const) {
      await hasNone(as('alice', path, method), status);
    }
  });

  test('is silent about the greeting', async () => {
    for (const path of ['/v2/', '/v2/open/app/manifests/1', '/token']) await hasNone(front.send(path), 401);
  });

  test('holds no password and no token', async () => {
    const token = await front.token('bob', ['repository:open/app:pull']);
    await lineOf(withToken(token, '/v2/open/app/manifests/1'));
    await lineOf(withToken(`${token}x`, '/v2/open/app/manifests/1'));
    const text = readFileSync(join(front.directory, 'audit.jsonl'), 'utf8');
    for (const secret of [...Object.values(passwords), 'a guess', token, 'drp_refresh_', 'forged']) {
      assert.ok(!text.includes(JSON.stringify(secret).slice(1, -1)), secret);
    }
  });
});
