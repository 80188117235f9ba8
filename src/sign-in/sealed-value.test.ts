import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeTokenIssuer } from '../testing/fake-token-issuer.js';
import { SealedValue } from './sealed-value.js';

const schema = z.object({ name: z.string() });

function setUp() {
  const clock = new FakeClock();
  const issuer = new FakeTokenIssuer(clock);
  return { clock, issuer, values: new SealedValue(issuer, clock, { purpose: 'one', schema }) };
}

describe('a sealed value', () => {
  it('comes back as it was, until its time is over', () => {
    const { clock, values } = setUp();
    const expiresAt = clock.now() + 1_000;
    const sealed = values.seal({ name: 'alice' }, expiresAt, 'here');
    assert.deepEqual(values.open(sealed, 'here'), { value: { name: 'alice' }, expiresAt });
    clock.advance(999);
    assert.ok(values.open(sealed, 'here'), 'it has ended too soon');
    clock.advance(1);
    assert.equal(values.open(sealed, 'here'), undefined);
  });

  it('shows nothing of itself', () => {
    const { clock, values } = setUp();
    const sealed = values.seal({ name: 'alice' }, clock.now() + 1_000);
    assert.ok(!Buffer.from(sealed, 'base64url').toString('latin1').includes('alice'), 'the name is in it');
    assert.match(sealed, /^[\w-]+$/);
  });

  it('is none for another purpose, place, key or form', () => {
    const { clock, issuer, values } = setUp();
    const expiresAt = clock.now() + 1_000;
    const sealed = values.seal({ name: 'alice' }, expiresAt, 'here');
    const elsewhere = new SealedValue(issuer, clock, { purpose: 'two', schema });
    const otherKeys = new SealedValue(new FakeTokenIssuer(clock), clock, { purpose: 'one', schema });
    const other = new SealedValue(issuer, clock, { purpose: 'one', schema: z.object({ id: z.number() }) });
    const found = {
      absent: values.open(undefined, 'here'),
      empty: values.open('', 'here'),
      elsewhere: values.open(sealed, 'there'),
      anotherPurpose: elsewhere.open(sealed, 'here'),
      anotherKey: otherKeys.open(sealed, 'here'),
      anotherForm: other.open(sealed, 'here'),
      tampered: values.open(`${sealed[0] === 'A' ? 'B' : 'A'}${sealed.slice(1)}`, 'here'),
      long: values.open(values.seal({ name: 'x'.repeat(4_000) }, expiresAt, 'here'), 'here'),
    };
    for (const [what, opened] of Object.entries(found)) assert.equal(opened, undefined, what);
  });
});
