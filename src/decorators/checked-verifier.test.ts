import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Principal, Verifier } from '../contracts/index.js';
import { RegistryError, type RegistryErrorOptions } from '../errors.js';
import { failureOf, rejectsWith } from '../testing/conformance/suite.js';
import { describeVerifierConformance, passwordCredentials } from '../testing/conformance/verifier.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { ChainVerifier } from './chain-verifiers.js';
import { CheckedVerifier } from './checked-verifier.js';
import { ThrottleVerifier } from './throttle-verifier.js';

const o = { signal: new AbortController().signal };
const alice = passwordCredentials('alice', 'wonderland');
const plain: Principal = { verifier: 'own', name: 'alice', kind: 'human', groups: [], attributes: {} };

/** As a plugin in JavaScript may: its answer can be anything. */
function answering(answer: unknown): Verifier {
  return { verify: async () => answer as Principal, close: async () => undefined };
}

function throwing(error: unknown): Verifier {
  return { verify: () => Promise.reject(error), close: async () => undefined };
}

describeVerifierConformance('checked', async () => {
  const inner = new FakeVerifier('own', { alice: { password: 'wonderland', groups: ['developers'] } });
  return {
    verifier: new CheckedVerifier(inner, 'own'),
    id: 'own',
    valid: [{ credentials: alice, principal: { name: 'alice', groups: ['developers'] } }],
    invalid: [passwordCredentials('alice', 'l00king-glass')],
    foreign: [passwordCredentials('bob', 'wonderland')],
    break: () => {
      inner.broken = true;
    },
    remove: (name) => void inner.users.delete(name),
  };
});

describe('a principal', () => {
  const whole: Principal = {
    ...{ verifier: 'own', name: 'Alice ü/x', kind: 'machine', groups: ['a', 'b'] },
    attributes: { text: 'x', number: 1.5, flag: false, list: ['a', 'b'], none: [] },
    expiresAt: 1_900_000_000_000,
    credentialVersion: 'v1',
  };
  it('that is one passes as it is', async () => {
    assert.deepEqual(await new CheckedVerifier(answering(whole), 'own').verify(alice, o), whole);
    assert.equal(await new CheckedVerifier(answering(undefined), 'own').verify(alice, o), undefined);
  });

  it('is this verifier’s, whatever it claims, and has nothing else', async () => {
    for (const claimed of ['corp', undefined, 7]) {
      const answer = { ...plain, verifier: claimed, isAdmin: true };
      assert.deepEqual(await new CheckedVerifier(answering(answer), 'own').verify(alice, o), plain);
    }
  });

  it('is what was checked, also where it changes afterwards', async () => {
    const groups = ['a'];
    let reads = 0;
    const answer = {
      ...{ ...plain, groups },
      get name() {
        return reads++ === 0 ? 'alice' : 'root';
      },
    };
    const found = await new CheckedVerifier(answering(answer), 'own').verify(alice, o);
    groups.push('admins');
    assert.deepEqual([found?.name, found?.groups], ['alice', ['a']]);
  });

  const malformed: readonly (readonly [what: unknown, message: RegExp])[] = [
    [null, /it is null; 'not mine' is undefined$/],
    [false, /it is a boolean/],
    ['alice', /it is a string/],
    [{}, /its name/],
    [{ ...plain, name: '' }, /its name is not a text, or empty$/],
    [{ ...plain, name: ['alice'] }, /its name/],
    [{ ...plain, name: 'alice\nadmin' }, /its name holds control characters$/],
    [{ ...plain, name: '\ud800' }, /its name holds control characters$/],
    [{ ...plain, name: 'ü'.repeat(1025) }, /its name has over 2048 bytes$/],
    [{ ...plain, kind: 'admin' }, /its kind is none of human, machine, anonymous$/],
    [{ ...plain, kind: undefined }, /its kind/],
    [{ ...plain, groups: undefined }, /its groups/],
    [{ ...plain, groups: 'admins' }, /its groups/],
    [{ ...plain, groups: ['a', 1] }, /its groups/],
    [{ ...plain, groups: [''] }, /its groups/],
    [{ ...plain, attributes: undefined }, /its attributes are not a mapping$/],
    [{ ...plain, attributes: ['a'] }, /its attributes are not a mapping$/],
    [{ ...plain, attributes: { x: null } }, /its attribute x is not/],
    [{ ...plain, attributes: { x: { y: 1 } } }, /its attribute x is not/],
    [{ ...plain, attributes: { x: Number.NaN } }, /its attribute x is not/],
    [{ ...plain, attributes: { x: ['a', 1] } }, /its attribute x is not/],
    [{ ...plain, expiresAt: '2030-01-01' }, /its expiresAt/],
    [{ ...plain, expiresAt: new Date() }, /its expiresAt/],
    [{ ...plain, expiresAt: Number.POSITIVE_INFINITY }, /its expiresAt/],
    [{ ...plain, credentialVersion: 1 }, /its credentialVersion/],
    [{ ...plain, credentialVersion: 'x'.repeat(65) }, /its credentialVersion/],
    [
      Object.defineProperty({ ...plain }, 'groups', {
        get() {
          throw new Error('of a getter');
        },
      }),
      /it cannot be read$/,
    ],
  ];
  for (const [answer, message] of malformed) {
    it(`that is malformed is UNAVAILABLE: ${message.source}`, async () => {
      const verifier = new CheckedVerifier(answering(answer), 'own');
      const error = await rejectsWith(() => verifier.verify(alice, o), 'UNAVAILABLE');
      assert.match(error.reason ?? '', /^it gave a principal that is none: /);
      assert.equal(error.verifier, 'own');
      assert.match(error.reason ?? '', message);
    });
  }
});

describe('looking up again', () => {
  it('is there only where the verifier has it', () => {
    assert.equal(new CheckedVerifier(answering(plain), 'own').recheck, undefined);
  });

  it('never makes somebody else of a principal', async () => {
    const other = { ...plain, name: 'root' };
    const inner = { ...answering(plain), recheck: async () => other };
    const error = await rejectsWith(
      async () => new CheckedVerifier(inner, 'own').recheck?.(plain, o),
      'UNAVAILABLE',
    );
    assert.match(error.reason ?? '', /it has another name$/);
  });
});

describe('a refused proof', () => {
  it('is one still behind all that checks it', async () => {
    const refusal = new RegistryError('UNAUTHORIZED', {
      reason: 'of account 1',
      isProof: true,
      knownUser: true,
    });
    const checked = new CheckedVerifier(throwing(refusal), 'aws');
    const error = await rejectsWith(() => checked.verify(alice, o), 'UNAUTHORIZED');
    assert.deepEqual([error.isProof, error.verifier, error.reason], [true, 'aws', 'of account 1']);
    assert.equal(error.because('more').isProof, true);
    const throttled = new ThrottleVerifier(checked, new FakeClock(), { failures: 1, window: 60_000 });
    for (const text of ['a', 'b', 'c']) {
      await rejectsWith(() => throttled.verify(passwordCredentials('_aws', text), o), 'UNAUTHORIZED');
    }
  });
});

describe('an error', () => {
  const bug = new TypeError('x is not a function');
  for (const [name, error] of [
    ['of a bug', bug],
    ['that is none', 'a text'],
    ['with a code that is none', Object.assign(new Error('x'), { name: 'RegistryError', code: 'toString' })],
  ] as const) {
    it(`${name} stays what it is`, async () => {
      assert.equal(
        await failureOf(() => new CheckedVerifier(throwing(error), 'own').verify(alice, o)),
        error,
      );
    });
  }

  it('of the contract says the same, and whose it is, also where it is thrown twice', async () => {
    const options: RegistryErrorOptions = {
      ...{ detail: { name: 'x' }, message: 'later', reason: 'busy', cause: bug, status: 418, retryAfter: 7 },
      ...{ bearerError: 'invalid_token', knownUser: true, countsAsGuess: true, isProof: true },
    };
    const shared = new RegistryError('UNAVAILABLE', options);
    const inner = { ...throwing(shared), recheck: () => Promise.reject(shared) };
    for (const id of ['own', 'corp']) {
      const verifier = new CheckedVerifier(inner, id);
      const expected = { ...new RegistryError('UNAVAILABLE', { ...options, verifier: id }) };
      for (const call of [() => verifier.verify(alice, o), async () => verifier.recheck?.(plain, o)]) {
        const error = await rejectsWith(call, 'UNAVAILABLE');
        assert.deepEqual({ ...error }, expected);
        assert.deepEqual([error.message, error.cause], ['later', bug]);
      }
    }
    assert.equal(shared.verifier, undefined);
  });

  it('thrown at once is as one that is thrown later', async () => {
    const verify = () => {
      throw bug;
    };
    const verifier = new CheckedVerifier({ ...answering(plain), verify }, 'own');
    assert.equal(await failureOf(() => verifier.verify(alice, o)), bug);
  });

  it('of another copy of this package means the same', async () => {
    const foreign = Object.assign(new Error('too many requests'), {
      ...{ name: 'RegistryError', code: 'TOOMANYREQUESTS', reason: 'later', retryAfter: 7 },
      ...{ status: 200, detail: { secret: 'x' }, knownUser: true, countsAsGuess: true, isProof: true },
    });
    const verifier = new CheckedVerifier(throwing(foreign), 'own');
    const error = await rejectsWith(() => verifier.verify(alice, o), 'TOOMANYREQUESTS');
    assert.deepEqual(
      [error.status, error.reason, error.retryAfter, error.detail],
      [429, 'later', 7, undefined],
    );
    assert.deepEqual([error.knownUser, error.countsAsGuess, error.isProof], [true, true, true]);
  });

  it('of another copy says that a user is known by true alone', async () => {
    for (const knownUser of [undefined, false, 'yes', 1]) {
      const foreign = Object.assign(new Error('no'), {
        ...{
          name: 'RegistryError',
          code: 'UNAUTHORIZED',
          knownUser,
          countsAsGuess: knownUser,
          isProof: knownUser,
        },
      });
      const verifier = new CheckedVerifier(throwing(foreign), 'own');
      const error = await rejectsWith(() => verifier.verify(alice, o), 'UNAUTHORIZED');
      assert.deepEqual([error.knownUser, error.countsAsGuess, error.isProof], [false, false, false]);
    }
  });

  for (const [name, broken] of [
    ['a bug', throwing(bug)],
    ['a malformed principal', answering({ ...plain, groups: 'admins' })],
  ] as const) {
    it(`${name} never becomes another verifier’s yes or no`, async () => {
      const next = new FakeVerifier('next', { alice: { password: 'wonderland' } });
      const chain = new ChainVerifier(
        new Map<string, Verifier>([
          ['own', new CheckedVerifier(broken, 'own')],
          ['next', next],
        ]),
      );
      await failureOf(() => chain.verify(alice, o));
      assert.deepEqual(next.asked, []);
    });
  }
});
