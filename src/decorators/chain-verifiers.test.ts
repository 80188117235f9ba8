import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ClientCredentials, Verifier } from '../contracts/index.js';
import { identityEnvelope } from '../protocol/identity-envelope.js';
import { Secret } from '../secret.js';
import { NamePattern } from '../settings/name-pattern.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { authenticate } from './authenticate.js';
import { ChainVerifier } from './chain-verifiers.js';
import { LimitedVerifier } from './limit-usernames.js';

const o = { signal: new AbortController().signal };
const connection = { address: '192.0.2.1' };
const none: ClientCredentials = { shown: { kind: 'none' }, connection };

function password(username: string, text: string): ClientCredentials {
  return { shown: { kind: 'password', username, password: new Secret(text) }, connection };
}

function chain(...verifiers: readonly FakeVerifier[]) {
  return new ChainVerifier(new Map(verifiers.map((verifier) => [verifier.id, verifier])));
}

describe('ChainVerifier', () => {
  it('asks in order until one takes the credentials', async () => {
    const first = new FakeVerifier('first', { alice: { password: 'a' } });
    const second = new FakeVerifier('second', { alice: { password: 'b' }, bob: { password: 'b' } });
    const third = new FakeVerifier('third', { bob: { password: 'b' } });
    const verifier = chain(first, second, third);
    assert.equal((await verifier.verify(password('alice', 'a'), o))?.verifier, 'first');
    assert.equal((await verifier.verify(password('bob', 'b'), o))?.verifier, 'second');
    assert.equal(await verifier.verify(password('mallory', 'x'), o), undefined);
    assert.deepEqual([first.asked.length, second.asked.length, third.asked.length], [3, 2, 1]);
  });

  it('asks nobody else once one says that they are its own, and invalid', async () => {
    const second = new FakeVerifier('second', { alice: { password: 'b' } });
    const verifier = chain(new FakeVerifier('first', { alice: { password: 'a' } }), second);
    await assert.rejects(verifier.verify(password('alice', 'b'), o), { code: 'UNAUTHORIZED' });
    assert.equal(second.asked.length, 0);
  });

  it('asks nobody else where one is broken: that never becomes another answer', async () => {
    const first = new FakeVerifier('first');
    first.broken = true;
    const anyone = new FakeVerifier('second', { alice: { password: 'b' } });
    await assert.rejects(chain(first, anyone).verify(password('alice', 'b'), o), { code: 'UNAVAILABLE' });
    assert.equal(anyone.asked.length, 0);
  });

  it('asks those first that recognise the credentials', async () => {
    const first = new FakeVerifier('first', { alice: { password: 'a' } });
    const second: Verifier = Object.assign(new FakeVerifier('second', { alice: { password: 'a' } }), {
      recognises: ({ shown }: ClientCredentials) => shown.kind === 'password' && shown.username === 'alice',
    });
    const verifier = new ChainVerifier(
      new Map<string, Verifier>([
        ['first', first],
        ['second', second],
      ]),
    );
    assert.equal((await verifier.verify(password('alice', 'a'), o))?.verifier, 'second');
    assert.equal(first.asked.length, 0);
    first.users.set('bob', { password: 'b' });
    assert.equal((await verifier.verify(password('bob', 'b'), o))?.verifier, 'first');
  });

  it('rechecks with the one that vouched, and no other', async () => {
    const first = new FakeVerifier('first', { alice: {} });
    const second = new FakeVerifier('second', { alice: { groups: ['x'] } });
    const verifier = chain(first, second);
    const known = { verifier: 'second', name: 'alice', kind: 'human', groups: [], attributes: {} } as const;
    assert.deepEqual((await verifier.recheck(known, o))?.groups, ['x']);
    second.users.clear();
    assert.equal(await verifier.recheck(known, o), undefined);
    assert.equal(await verifier.recheck({ ...known, verifier: 'gone' }, o), undefined);
    const { verify, close } = first;
    const bare: Verifier = { verify: verify.bind(first), close: close.bind(first) };
    assert.equal(await new ChainVerifier(new Map([['second', bare]])).recheck(known, o), undefined);
  });

  it('closes all', async () => {
    const all = [new FakeVerifier('first'), new FakeVerifier('second')];
    await chain(...all).close();
    assert.ok(
      all.every((verifier) => verifier.closed),
      'all.every((verifier) => verifier.closed)',
    );
  });
});

describe('a machine’s proof', () => {
  const envelope = identityEnvelope('a.b.c');
  const recognising = (id: string, ...names: readonly string[]) =>
    Object.assign(new FakeVerifier(id), {
      recognises: ({ shown }: ClientCredentials) =>
        shown.kind === 'password' && names.includes(shown.username),
    });
  const reserving = (id: string, inner: FakeVerifier, ...names: readonly string[]) =>
    [
      id,
      new LimitedVerifier(
        inner,
        names.map((name) => new NamePattern(name)),
      ),
    ] as const;

  it('is shown to those alone that recognise it, in order, until one takes it', async () => {
    const people = new FakeVerifier('people', { _gcp: { password: envelope } });
    const first = recognising('first', '_gcp', '_aws');
    const second = recognising('second', '_gcp');
    second.users.set('_gcp', { password: envelope });
    const third = recognising('third', '_gcp');
    const verifier = chain(people, first, second, third);
    assert.equal((await verifier.verify(password('_gcp', envelope), o))?.verifier, 'second');
    assert.equal(await verifier.verify(password('_aws', envelope), o), undefined);
    const asked = [people, first, second, third].map((one) => one.asked.length);
    assert.deepEqual(asked, [0, 2, 1, 0]);
  });

  it('is shown to who has its user name reserved', async () => {
    const [people, plugin] = [new FakeVerifier('people'), new FakeVerifier('plugin')];
    plugin.users.set('_ours', { password: envelope });
    const verifier = new ChainVerifier(
      new Map<string, Verifier>([['people', people], reserving('plugin', plugin, '_ours')]),
    );
    assert.equal((await verifier.verify(password('_ours', envelope), o))?.verifier, 'plugin');
    assert.equal(await verifier.verify(password('_other', envelope), o), undefined);
    assert.deepEqual([people.asked.length, plugin.asked.length], [0, 1]);
  });

  it('is no other verifier’s without its envelope either: by hand nobody writes one', async () => {
    const people = new FakeVerifier('people', { _aws: { password: 'MIAG' }, aws: { password: 'MIAG' } });
    const verifier = chain(people, recognising('machines', '_gcp'));
    assert.equal(await verifier.verify(password('_aws', 'MIAG'), o), undefined);
    assert.equal(await verifier.verify(password('_kubernetes-a', 'MIAG'), o), undefined);
    assert.equal(people.asked.length, 0);
    assert.equal((await verifier.verify(password('aws', 'MIAG'), o))?.verifier, 'people');
  });

  for (const text of [envelope, 'drp-id1', 'drp-id2.x', ' drp-id1.x', 'drp-id1.cut off']) {
    it(`is shown to nobody where nobody knows it: ${text}`, async () => {
      const people = new FakeVerifier('people', { alice: { password: text }, robot: { bearer: text } });
      const verifier = chain(people);
      for (const credentials of [
        password('alice', text),
        password('_gcp', text),
        { shown: { kind: 'bearer', token: new Secret(text) }, connection } as const,
      ]) {
        assert.equal(await verifier.verify(credentials, o), undefined);
      }
      assert.deepEqual(people.asked, []);
      await assert.rejects(authenticate(verifier, password('_gcp', text), o), {
        code: 'UNAUTHORIZED',
        reason: 'no verifier takes these credentials',
      });
    });
  }

  it('that is refused, or cannot be judged now, is shown to nobody else', async () => {
    const first = recognising('first', '_gcp');
    const second = recognising('second', '_gcp');
    first.users.set('_gcp', { password: 'another' });
    await assert.rejects(chain(first, second).verify(password('_gcp', envelope), o), {
      code: 'UNAUTHORIZED',
    });
    first.broken = true;
    await assert.rejects(chain(first, second).verify(password('_gcp', envelope), o), { code: 'UNAVAILABLE' });
    assert.deepEqual(second.asked, []);
  });
});

describe('authenticate', () => {
  const verifier = chain(new FakeVerifier('first', { alice: { password: 'a' } }));

  it('gives the principal', async () => {
    assert.equal((await authenticate(verifier, password('alice', 'a'), o)).name, 'alice');
  });

  for (const [name, credentials, reason] of [
    ['where nothing is shown', none, 'no credentials were shown'],
    ['where nobody takes what is shown', password('bob', 'b'), 'no verifier takes these credentials'],
    ['where what is shown is wrong', password('alice', 'b'), 'wrong password'],
  ] as const) {
    it(`fails ${name}`, async () => {
      await assert.rejects(authenticate(verifier, credentials, o), { code: 'UNAUTHORIZED', reason });
    });
  }
});
