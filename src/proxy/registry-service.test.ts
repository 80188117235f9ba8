import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { RegistryMethod } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseDigest } from '../reference/digest.js';
import { parseReference } from '../reference/reference.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import type { Action } from '../reference/scope.js';
import { RouteTable } from '../routing/route-table.js';
import { Secret } from '../secret.js';
import { FakePolicy } from '../testing/fake-policy.js';
import { FakeTokenIssuer } from '../testing/fake-token-issuer.js';
import { FakeUpstream, upstreamResponse } from '../testing/fake-upstream.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import type { AccessRecord, ClientRequest } from './client-request.js';
import { RegistryService } from './registry-service.js';

const o = { signal: new AbortController().signal };
const connection = { address: '192.0.2.1' };
const name = parseRepositoryName('app');
const manifest = { kind: 'manifest', repository: name, reference: parseReference('1') } as const;
const digest = parseDigest(`sha256:${'0'.repeat(64)}`);

describe('RegistryService', () => {
  let upstream: FakeUpstream;
  let verifier: FakeVerifier;
  let policy: FakePolicy;
  let tokens: FakeTokenIssuer;
  let routes: RouteTable;
  let service: RegistryService;

  beforeEach(() => {
    upstream = new FakeUpstream(async () => upstreamResponse(200, { 'content-length': '2' }, '{}'));
    verifier = new FakeVerifier('local', { alice: { password: 'pw' } });
    policy = new FakePolicy(() => ['pull']);
    tokens = new FakeTokenIssuer();
    const route = { prefix: 'p/', upstream: 'one', rewrite: 'inside/', ns: ['docker.io'] };
    const root = { prefix: '', upstream: 'one', rewrite: 'inside/', ns: [] };
    routes = new RouteTable(new URL('https://docker.test'), [root, route], new Map([['one', upstream]]));
    service = new RegistryService({ routes, verifier, policy, tokens, clock: tokens.clock });
  });

  const password = (text = 'pw') =>
    ({ kind: 'password', username: 'alice', password: new Secret(text) }) as const;

  function request(changes: Partial<ClientRequest> = {}): ClientRequest {
    return {
      host: routes.hosts.find('docker.test'),
      method: 'GET',
      operation: manifest,
      headers: new Map(),
      credentials: { shown: password(), connection },
      admit: () => {},
      ...changes,
    };
  }

  async function tokenFor(repository: string, actions: readonly Action[], audience = 'docker.test') {
    const who = { verifier: 'local', name: 'alice', kind: 'human', groups: [], attributes: {} } as const;
    const granted = [{ type: 'repository', name: parseRepositoryName(repository), actions }] as const;
    const { token } = await tokens.issue(who, granted, { ...o, service: audience });
    return { shown: { kind: 'bearer', token } as const, connection };
  }

  test('a request goes up under the upstream’s name, and is described for the log', async () => {
    const record: AccessRecord = {};
    const answer = await service.handle(request(), record, o);
    assert.equal(answer.status, 200);
    assert.deepEqual(
      upstream.requests.map(({ operation }) => operation),
      [{ ...manifest, repository: 'inside/app' }],
    );
    const { wanted, ...described } = record;
    assert.deepEqual(wanted, [{ type: 'repository', name: 'app', actions: ['pull'] }]);
    assert.deepEqual(described, {
      user: 'alice',
      action: 'pull',
      principal: 'local:alice',
      verifier: 'local',
      rule: 'fake',
      repository: 'app',
      reference: '1',
      tag: '1',
      upstream: 'one',
      upstreamRepository: 'inside/app',
    });
  });

  test('the policy is asked about the canonical name on this host, from this address', async () => {
    await service.handle(request({ ns: 'docker.io' }), {}, o);
    assert.deepEqual(
      policy.asked.map(({ wanted, request: context }) => ({ wanted, context })),
      [
        {
          wanted: [{ type: 'repository', name: 'p/app', actions: ['pull'] }],
          context: { service: 'docker.test', address: '192.0.2.1' },
        },
      ],
    );
  });

  for (const [what, method, granted, code] of [
    ['pull for a pull', 'GET', ['pull'], undefined],
    ['nothing for a pull', 'GET', [], 'UNAUTHORIZED'],
    ['push alone for a push', 'PUT', ['push'], 'UNAUTHORIZED'],
    ['pull and push for a push', 'PUT', ['pull', 'push'], undefined],
    ['pull and push for a delete', 'DELETE', ['pull', 'push'], 'UNAUTHORIZED'],
    ['delete for a delete', 'DELETE', ['delete'], undefined],
  ] as const) {
    test(`a token with ${what}: ${code ?? 'forwarded'}`, async () => {
      const credentials = await tokenFor('app', granted);
      const handled = service.handle(request({ credentials, method: method as RegistryMethod }), {}, o);
      if (code === undefined) {
        await handled;
        assert.equal(upstream.requests.length, 1);
        return;
      }
      await assert.rejects(handled, { code, bearerError: 'insufficient_scope' });
      assert.deepEqual(upstream.requests, []);
    });
  }

  test('a token of another host, or for another repository', async () => {
    const other = await tokenFor('app', ['pull'], 'other.test');
    await assert.rejects(service.handle(request({ credentials: other }), {}, o), {
      bearerError: 'invalid_token',
    });
    const elsewhere = await tokenFor('apps', ['pull']);
    await assert.rejects(service.handle(request({ credentials: elsewhere }), {}, o), {
      bearerError: 'insufficient_scope',
    });
    assert.deepEqual(upstream.requests, []);
  });

  test('nobody, a wrong password, no rule, a broken verifier, a broken policy: nothing goes up', async () => {
    const nobody = { shown: { kind: 'none' }, connection } as const;
    await assert.rejects(service.handle(request({ credentials: nobody }), {}, o), { code: 'UNAUTHORIZED' });
    const wrong = { shown: password('wrong'), connection };
    await assert.rejects(service.handle(request({ credentials: wrong }), {}, o), { code: 'UNAUTHORIZED' });
    policy.allow = () => ['push'];
    await assert.rejects(service.handle(request(), {}, o), { code: 'DENIED' });
    policy.broken = true;
    await assert.rejects(service.handle(request(), {}, o), { code: 'UNAVAILABLE' });
    verifier.broken = true;
    await assert.rejects(service.handle(request(), {}, o), { code: 'UNAVAILABLE' });
    assert.deepEqual(upstream.requests, []);
  });

  test('only listed headers go up, and a range only of a blob that is read', async () => {
    const headers = new Map(
      Object.entries({
        accept: 'a',
        range: 'bytes=0-1',
        'if-range': '"x"',
        authorization: 'Basic x',
        cookie: 'c',
        'x-y': 'z',
        'if-none-match': '"e"',
      }),
    );
    const sent = async (changes: Partial<ClientRequest>) => {
      upstream.requests.length = 0;
      await service.handle(request({ headers, ...changes }), {}, o);
      return [...(upstream.requests[0]?.headers.keys() ?? [])].sort();
    };
    const blob = { kind: 'blob', repository: name, digest } as const;
    assert.deepEqual(await sent({}), ['accept', 'if-none-match']);
    assert.deepEqual(await sent({ operation: blob }), ['accept', 'if-none-match', 'if-range', 'range']);
    assert.deepEqual(await sent({ operation: blob, method: 'HEAD' }), ['accept', 'if-none-match']);
  });

  test('an upstream’s refusal has the client’s name in it', async () => {
    upstream.answer = () =>
      Promise.reject(
        new RegistryError('MANIFEST_UNKNOWN', {
          message: 'no inside/app here',
          detail: { name: 'inside/app' },
          reason: 'r',
          retryAfter: 3,
        }),
      );
    await assert.rejects(service.handle(request(), {}, o), {
      code: 'MANIFEST_UNKNOWN',
      message: 'no app here',
      detail: { name: 'app' },
      reason: 'r',
      retryAfter: 3,
    });
  });

  test('a bug stays a bug', async () => {
    upstream.answer = () => Promise.reject(new TypeError('x is not a function'));
    await assert.rejects(service.handle(request(), {}, o), TypeError);
  });

  test('a list of tags: the name, the length and the link are the client’s', async () => {
    upstream.answer = async () => ({
      ...upstreamResponse(
        200,
        { 'content-length': '99', etag: '"x"', 'content-encoding': 'identity' },
        '{"name":"inside/app","tags":["1"]}',
      ),
      nextPage: 'last=1&n=1',
    });
    const operation = { kind: 'tags', repository: name, page: 'n=1' } as const;
    for (const [ns, link] of [
      [undefined, '</v2/app/tags/list?last=1&n=1>; rel="next"'],
      ['docker.io', '</v2/app/tags/list?last=1&n=1&ns=docker.io>; rel="next"'],
    ] as const) {
      const answer = await service.handle(request({ operation, ...(ns && { ns }) }), {}, o);
      assert.equal(answer.link, link);
      const text = Buffer.concat(await (answer.body ?? assert.fail()).toArray()).toString('utf8');
      assert.equal(text, '{"name":"app","tags":["1"]}');
      assert.deepEqual(Object.fromEntries(answer.headers), {
        'content-length': String(text.length),
        'content-type': 'application/json',
      });
    }
  });

  test('no route: as unknown as any other, but only to who might have pulled it', async () => {
    const only = new RouteTable(
      new URL('https://docker.test'),
      [{ prefix: 'p/', upstream: 'one', rewrite: '', ns: [] }],
      new Map([['one', upstream]]),
    );
    const narrow = new RegistryService({ routes: only, verifier, policy, tokens, clock: tokens.clock });
    await assert.rejects(narrow.handle(request(), {}, o), { code: 'NAME_UNKNOWN' });
    policy.allow = () => [];
    await assert.rejects(narrow.handle(request(), {}, o), { code: 'DENIED' });
  });

  test('the catalogue is off for everybody who is somebody, without asking the policy', async () => {
    const operation = { kind: 'catalog', page: '' } as const;
    for (const credentials of [{ shown: password(), connection }, await tokenFor('app', [])]) {
      const record: AccessRecord = {};
      await assert.rejects(service.handle(request({ operation, credentials }), record, o), {
        code: 'UNSUPPORTED',
        status: 405,
      });
      assert.equal(record.action, '*');
      assert.equal(record.principal, 'local:alice');
    }
    for (const shown of [password('wrong'), { kind: 'none' } as const]) {
      const record: AccessRecord = {};
      const credentials = { shown, connection };
      await assert.rejects(service.handle(request({ operation, credentials }), record, o), {
        code: 'UNAUTHORIZED',
      });
      assert.deepEqual(record.wanted, [{ type: 'registry', name: 'catalog', actions: ['*'] }]);
    }
    assert.deepEqual(policy.asked, []);
    assert.deepEqual(upstream.requests, []);
  });

  test('the user name shown is described, also with a wrong password; not one that nobody has', async () => {
    const userOf = async (changes: Partial<ClientRequest>) => {
      const record: AccessRecord = {};
      await service.handle(request(changes), record, o).catch(() => {});
      return record.user;
    };
    assert.equal(await userOf({ operation: { kind: 'ping' } }), 'alice');
    assert.equal(await userOf({ credentials: { shown: password('wrong'), connection } }), 'alice');
    const swapped = { kind: 'password', username: 'pw', password: new Secret('alice') } as const;
    assert.equal(await userOf({ credentials: { shown: swapped, connection } }), undefined);
    assert.equal(await userOf({ credentials: await tokenFor('app', ['pull']) }), undefined);
  });
});
