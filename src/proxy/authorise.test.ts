import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { RegistryError } from '../errors.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import type { Action, Scope } from '../reference/scope.js';
import { ServedHosts } from '../routing/served-host.js';
import { Secret } from '../secret.js';
import { FakePolicy } from '../testing/fake-policy.js';
import { FakeTokenIssuer } from '../testing/fake-token-issuer.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { authorise } from './authorise.js';
import type { AccessRecord } from './client-request.js';

const o = { signal: new AbortController().signal };
const connection = { address: '192.0.2.1' };
const host = new ServedHosts(new URL('https://docker.test'), []).find('docker.test');
const password = { kind: 'password', username: 'alice', password: new Secret('pw') } as const;

function scopeOf(name: string, ...actions: Action[]): Scope {
  return { type: 'repository', name: parseRepositoryName(name), actions };
}

describe('authorise', () => {
  const events: string[] = [];
  let verifier: FakeVerifier;
  let policy: FakePolicy;
  let tokens: FakeTokenIssuer;

  beforeEach(() => {
    events.length = 0;
    verifier = new FakeVerifier('local', { alice: { password: 'pw' } });
    policy = new FakePolicy(({ name }, wanted) => {
      events.push(`policy asked about ${name}: ${wanted.name}`);
      return wanted.name === 'app' ? ['pull', 'push'] : ['pull'];
    });
    tokens = new FakeTokenIssuer();
  });

  const admit = (who: { readonly name: string }) => void events.push(`admitted ${who.name}`);
  const ask = (
    shown: Parameters<typeof authorise>[1]['credentials']['shown'],
    wanted: Scope | undefined,
    record: AccessRecord = {},
    admitted: Parameters<typeof authorise>[1]['admit'] = admit,
  ) =>
    authorise(
      { verifier, policy, tokens },
      { credentials: { shown, connection }, host, admit: admitted },
      wanted,
      record,
      o,
    );

  async function tokenFor(...granted: Scope[]) {
    const who = { verifier: 'local', name: 'alice', kind: 'human', groups: [], attributes: {} } as const;
    const { token } = await tokens.issue(who, granted, { ...o, service: host.service });
    return { kind: 'bearer', token } as const;
  }

  test('a password: the policy says what is granted, also of one more scope', async () => {
    const record: AccessRecord = {};
    const authority = await ask(password, scopeOf('app', 'pull', 'push'), record);
    assert.equal(authority.principal.name, 'alice');
    assert.equal(await authority.allows(scopeOf('base', 'pull')), true);
    assert.equal(await authority.allows(scopeOf('base', 'pull', 'push')), false);
    assert.deepEqual(record, {
      user: 'alice',
      principal: 'local:alice',
      verifier: 'local',
      rule: 'fake',
    });
    const { request } = policy.asked.at(-1) ?? assert.fail('the policy was not asked');
    assert.deepEqual(request, { service: 'docker.test', address: '192.0.2.1' });
  });

  test('a token: what it grants, whatever the policy says', async () => {
    const token = await tokenFor(scopeOf('app', 'pull', 'push'), scopeOf('other', 'pull'));
    const authority = await ask(token, scopeOf('app', 'pull', 'push'));
    assert.equal(await authority.allows(scopeOf('other', 'pull')), true);
    assert.equal(await authority.allows(scopeOf('base', 'pull')), false, 'the policy alone would allow it');
    assert.deepEqual(policy.asked, []);
  });

  test('whoever it is is admitted after the password and before the policy', async () => {
    await ask(password, scopeOf('app', 'pull'));
    assert.deepEqual(events, ['admitted alice', 'policy asked about alice: app']);
    events.length = 0;
    await ask(await tokenFor(), undefined);
    assert.deepEqual(events, ['admitted alice'], 'with a token, and where being somebody is enough');
  });

  test('nobody is admitted who is not known', async () => {
    const wrong = { ...password, password: new Secret('wrong') };
    const forged = { kind: 'bearer', token: new Secret('x') } as const;
    for (const shown of [{ kind: 'none' } as const, wrong, forged]) {
      await assert.rejects(ask(shown, undefined), { code: 'UNAUTHORIZED' });
    }
    assert.deepEqual(events, []);
  });

  test('who is not admitted is refused, and the policy not asked', async () => {
    const full = new RegistryError('TOOMANYREQUESTS', { retryAfter: 1 });
    const refuse = () => {
      throw full;
    };
    for (const shown of [password, await tokenFor(scopeOf('app', 'pull'))]) {
      const record: AccessRecord = {};
      await assert.rejects(ask(shown, scopeOf('app', 'pull'), record, refuse), full);
      assert.equal(record.principal, 'local:alice', 'the log says whose limit it was');
    }
    assert.deepEqual(policy.asked, []);
  });

  for (const [what, wanted] of [
    ['one of two actions', scopeOf('base', 'pull', 'push')],
    ['none', scopeOf('app', 'delete')],
  ] as const) {
    test(`${what} granted is not enough: 401 over a token, 403 over a password`, async () => {
      await assert.rejects(ask(password, wanted), { code: 'DENIED', detail: { name: wanted.name } });
      const token = await tokenFor(scopeOf('app', 'pull', 'push'), scopeOf('base', 'pull'));
      await assert.rejects(ask(token, wanted), { code: 'UNAUTHORIZED', bearerError: 'insufficient_scope' });
    });
  }

  test('a token of another host is no token', async () => {
    const who = { verifier: 'local', name: 'alice', kind: 'human', groups: [], attributes: {} } as const;
    const { token } = await tokens.issue(who, [scopeOf('app', 'pull')], { ...o, service: 'other.test' });
    await assert.rejects(ask({ kind: 'bearer', token }, scopeOf('app', 'pull')), {
      bearerError: 'invalid_token',
    });
    assert.deepEqual(events, []);
  });

  test('a policy that cannot decide fails closed, for the first scope and for one more', async () => {
    policy.broken = true;
    await assert.rejects(ask(password, scopeOf('app', 'pull')), { code: 'UNAVAILABLE' });
    policy.broken = false;
    const authority = await ask(password, scopeOf('app', 'pull'));
    policy.broken = true;
    await assert.rejects(authority.allows(scopeOf('base', 'pull')), { code: 'UNAVAILABLE' });
  });
});
