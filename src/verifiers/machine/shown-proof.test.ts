import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RegistryError } from '../../errors.js';
import { identityEnvelope } from '../../protocol/identity-envelope.js';
import { bearerCredentials, passwordCredentials } from '../../testing/conformance/verifier.js';
import { asRefusedMachine, isMachine, notListed, refused, shownProof } from './shown-proof.js';

const none = { shown: { kind: 'none' }, connection: { address: '192.0.2.1' } } as const;

describe('what a machine shows', () => {
  it('is taken out of its envelope, or as it is', () => {
    assert.equal(shownProof(passwordCredentials('_gcp', identityEnvelope('a.b.c')), '_gcp'), 'a.b.c');
    assert.equal(shownProof(passwordCredentials('_gcp', 'a.b.c'), '_gcp'), 'a.b.c');
    assert.equal(shownProof(passwordCredentials('_gcp', ''), '_gcp'), '');
  });

  it('is nobody else’s', () => {
    for (const credentials of [
      none,
      bearerCredentials(identityEnvelope('a.b.c')),
      passwordCredentials('_aws', identityEnvelope('a.b.c')),
      passwordCredentials('_GCP', identityEnvelope('a.b.c')),
      passwordCredentials('_gcp ', identityEnvelope('a.b.c')),
      passwordCredentials('alice', identityEnvelope('a.b.c')),
      passwordCredentials('alice', 'drp-id1'),
    ]) {
      assert.equal(shownProof(credentials, '_gcp'), undefined);
      assert.equal(isMachine(credentials, '_gcp'), false);
    }
    assert.equal(isMachine(passwordCredentials('_gcp', ''), '_gcp'), true);
  });

  for (const [password, reason] of [
    ['drp-id1', /^a machine's proof is refused: its envelope \(drp-id…\) is damaged$/],
    [' drp-id1.hunter2', /is damaged$/],
    ['drp-id1.hunter2 hunter2', /is damaged$/],
    [`drp-id1.${'hunter2'.repeat(2_000)}`, /is damaged$/],
    ['drp-id2.hunter2', /its envelope is of version 2, which this proxy is too old for$/],
  ] as const) {
    it(`is refused where it is ${JSON.stringify(password.slice(0, 16))}`, () => {
      assert.throws(
        () => shownProof(passwordCredentials('_gcp', password), '_gcp'),
        (error) => {
          assert.ok(error instanceof RegistryError, 'it is another error');
          assert.equal(error.code, 'UNAUTHORIZED');
          assert.match(error.reason ?? '', reason);
          assert.doesNotMatch(JSON.stringify(error) + error.reason, /hunter2/);
          return true;
        },
      );
    });
  }
});

describe('a refusal', () => {
  it('is no guess, and the user name may be told', () => {
    const cause = new Error('why');
    const { code, reason, isProof, knownUser, countsAsGuess, cause: kept } = refused('of account 1', cause);
    assert.deepEqual(
      [code, reason, isProof, knownUser, countsAsGuess, kept],
      ['UNAUTHORIZED', "a machine's proof is refused: of account 1", true, true, false, cause],
    );
  });

  it('of a machine that is on no list names what it is, the list and the machine', () => {
    const before = "a machine's proof is refused: ";
    assert.equal(
      notListed('the account', '999999999999', 'accounts', 'i-0abc').reason,
      `${before}the account 999999999999 is not one of \`accounts\` (i-0abc)`,
    );
    assert.equal(
      notListed('the image', undefined, 'imageIds').reason,
      `${before}the image (none) is not one of \`imageIds\``,
    );
  });

  it('by shared code becomes one of a machine, with its reason and cause', () => {
    const cause = new Error('why');
    const made = asRefusedMachine(new RegistryError('UNAUTHORIZED', { reason: 'a token is refused', cause }));
    assert.ok(made instanceof RegistryError, 'it is another error');
    assert.deepEqual(
      [made.code, made.reason, made.isProof, made.knownUser, made.cause],
      ['UNAUTHORIZED', 'a token is refused', true, true, cause],
    );
    assert.equal((asRefusedMachine(new RegistryError('UNAUTHORIZED')) as RegistryError).reason, undefined);
  });

  it('is not made of what is broken, nor of a bug', () => {
    for (const error of [
      new RegistryError('UNAVAILABLE'),
      new RegistryError('TOOMANYREQUESTS'),
      new TypeError('x'),
      7,
    ]) {
      assert.equal(asRefusedMachine(error), error);
    }
  });
});
