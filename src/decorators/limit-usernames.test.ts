import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ClientCredentials, Verifier } from '../contracts/index.js';
import { Secret } from '../secret.js';
import { NamePattern } from '../settings/name-pattern.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { ChainVerifier } from './chain-verifiers.js';
import { LimitedVerifier } from './limit-usernames.js';

const o = { signal: new AbortController().signal };
const connection = { address: '192.0.2.1' };

function password(username: string, text: string): ClientCredentials {
  return { shown: { kind: 'password', username, password: new Secret(text) }, connection };
}

function limited(inner: FakeVerifier, ...patterns: readonly string[]) {
  return new LimitedVerifier(
    inner,
    patterns.map((pattern) => new NamePattern(pattern)),
  );
}

describe('LimitedVerifier', () => {
  it('shows a verifier the passwords of its user names, and no others', async () => {
    const inner = new FakeVerifier('robots', { 'robot-a': { password: 'a' }, alice: { password: 'b' } });
    const verifier = limited(inner, 'robot-*', '_ci');
    assert.equal((await verifier.verify(password('robot-a', 'a'), o))?.name, 'robot-a');
    assert.equal(await verifier.verify(password('alice', 'b'), o), undefined);
    assert.equal(await verifier.verify(password('xrobot-a', 'a'), o), undefined);
    assert.equal(inner.asked.length, 1, 'a password it must not see was shown');
  });

  it('shows it what has no user name', async () => {
    const inner = new FakeVerifier('robots', { alice: { bearer: 'token' } });
    const verifier = limited(inner, '_ci');
    const bearer = { shown: { kind: 'bearer', token: new Secret('token') }, connection } as const;
    assert.equal((await verifier.verify(bearer, o))?.name, 'alice');
    await verifier.verify({ shown: { kind: 'none' }, connection }, o);
    assert.equal(inner.asked.length, 2);
  });

  it('is asked before a directory that is down', async () => {
    const directory = new FakeVerifier('corp', {});
    directory.broken = true;
    const robots = limited(new FakeVerifier('robots', { 'robot-a': { password: 'a' } }), 'robot-*');
    const chain = new ChainVerifier(
      new Map<string, FakeVerifier | LimitedVerifier>([
        ['corp', directory],
        ['robots', robots],
      ]),
    );
    assert.equal((await chain.verify(password('robot-a', 'a'), o))?.name, 'robot-a');
    await assert.rejects(chain.verify(password('alice', 'a'), o), { code: 'UNAVAILABLE' });
    await assert.rejects(chain.verify(password('robot-b', 'a'), o), { code: 'UNAVAILABLE' });
  });

  it('comes after those that recognise the secret by its form, and before the others', async () => {
    const asked: string[] = [];
    const named = (id: string, form?: string): Verifier => ({
      verify: async () => {
        asked.push(id);
        return undefined;
      },
      ...(form && {
        recognises: ({ shown }) => shown.kind === 'password' && shown.password.reveal().startsWith(form),
      }),
      close: async () => {},
    });
    const ofRobots = [new NamePattern('robot-*')];
    const chain = new ChainVerifier(
      new Map<string, Verifier>([
        ['plain', named('plain')],
        ['robots', new LimitedVerifier(named('robots'), ofRobots)],
        ['keys', new LimitedVerifier(named('keys', 'key_'), ofRobots)],
        ['tokens', named('tokens', 'tok_')],
      ]),
    );
    for (const [username, secret, order] of [
      ['robot-a', 'tok_1', ['tokens', 'robots', 'keys', 'plain']],
      ['robot-a', 'key_1', ['keys', 'robots', 'plain', 'tokens']],
      ['robot-a', 'x', ['robots', 'keys', 'plain', 'tokens']],
      ['alice', 'tok_1', ['tokens', 'plain']],
      ['alice', 'key_1', ['plain', 'tokens']],
    ] as const) {
      asked.length = 0;
      await chain.verify(password(username, secret), o);
      assert.deepEqual(asked, order, `${username} ${secret}`);
    }
  });

  it('passes on recheck and close', async () => {
    const inner = new FakeVerifier('robots', { 'robot-a': { password: 'a' } });
    const verifier = limited(inner, 'robot-*');
    const who = await verifier.verify(password('robot-a', 'a'), o);
    assert.ok(who, 'not accepted');
    assert.deepEqual(await verifier.recheck(who, o), who);
    await verifier.close();
    assert.ok(inner.closed, 'not closed');
  });
});
