import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  identityEnvelope,
  isIdentityEnvelope,
  isMachineUser,
  machineUsers,
  proofIn,
} from './identity-envelope.js';

describe('an identity envelope', () => {
  it('carries a proof as it is', () => {
    for (const proof of [
      'eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln',
      'Action=GetCallerIdentity&X-Amz-Date=20260101T000000Z&X-Amz-Signature=ab%2Fcd',
      'MIIB-_8',
      'drp-id1.nested',
      '.',
      '',
    ]) {
      assert.equal(identityEnvelope(proof), `drp-id1.${proof}`);
      assert.deepEqual(proofIn(`drp-id1.${proof}`), { proof });
      assert.ok(isIdentityEnvelope(identityEnvelope(proof)), proof);
    }
  });

  it('carries any printable ASCII without spaces', () => {
    const character = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code));
    const proofs = fc.string({ unit: character, maxLength: 2_000 });
    fc.assert(
      fc.property(proofs, (proof) => {
        assert.deepEqual(proofIn(identityEnvelope(proof)), { proof });
      }),
    );
  });

  for (const [what, proof] of [
    ['a space', 'a b'],
    ['a line break', 'a\nb'],
    ['a line break at the end', 'a\n'],
    ['a control character', 'a\u0000'],
    ['a letter beyond ASCII', 'ü'],
    ['more than a header holds', 'x'.repeat(11_993)],
  ] as const) {
    it(`is not made of ${what}, and the error does not tell it`, () => {
      assert.throws(() => identityEnvelope(proof), { name: 'RangeError', message: /^a proof of \d+ char/ });
    });
  }

  it('is made of as much as a header holds', () => {
    const proof = 'x'.repeat(11_992);
    assert.deepEqual(proofIn(identityEnvelope(proof)), { proof });
  });

  it('of another version is told as such', () => {
    for (const [text, version] of [
      ['drp-id2.x', 2],
      ['drp-id0.x', 0],
      ['drp-id12.', 12],
      ['drp-id999.x', 999],
      ['drp-id01.x', 1],
    ] as const) {
      assert.deepEqual(proofIn(text), { version }, text);
    }
  });

  const others: Readonly<Record<string, boolean>> = {
    '': false,
    hunter2: false,
    'a.b.c': false,
    drp_pat_x: false,
    'drp-id': false,
    'drp-id.x': false,
    'drp-idx.y': false,
    'xdrp-id1.y': false,
    'drp-id1': true,
    'drp-id1x.y': true,
    'drp-id1000.x': true,
    ' drp-id1.x': true,
    '\ndrp-id1.x': true,
    'drp-id1.x y': true,
    'drp-id1.x\n': true,
    'DRP-ID1.x': false,
    [`drp-id1.${'x'.repeat(11_993)}`]: true,
  };
  for (const [text, isDamaged] of Object.entries(others)) {
    it(`is not ${JSON.stringify(text.slice(0, 20))}: ${isDamaged ? 'damaged' : 'something else'}`, () => {
      assert.equal(proofIn(text), undefined);
      assert.equal(isIdentityEnvelope(text), isDamaged);
    });
  }
});

describe('the user names of machines', () => {
  it('are told from people’s', () => {
    for (const name of Object.values(machineUsers)) {
      assert.ok(isMachineUser(name), name);
      assert.ok(isMachineUser(`${name}-a`), name);
      for (const other of [
        `${name}x`,
        name.slice(1),
        name.toUpperCase(),
        ` ${name}`,
        `${name.slice(0, -1)}-`,
      ]) {
        assert.equal(isMachineUser(other), false, other);
      }
    }
    assert.equal(isMachineUser(''), false);
    assert.equal(new Set(Object.values(machineUsers)).size, 5);
  });
});
