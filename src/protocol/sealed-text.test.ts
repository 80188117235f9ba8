import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { openSealedText, sealText } from './sealed-text.js';

const [old, key, other] = [randomBytes(32), randomBytes(32), randomBytes(32)];

describe('a sealed text', () => {
  const sealed = sealText([key, old], 'grüße', 'a place');

  it('is opened by whoever has the key, also where others come first', () => {
    assert.equal(openSealedText([other, key], sealed, 'a place'), 'grüße');
    assert.match(sealed, /^[A-Za-z0-9_-]+$/);
  });

  it('is another one each time', () => {
    assert.notEqual(sealText([key], 'grüße', 'a place'), sealed);
  });

  for (const [what, keys, text, boundTo] of [
    ['without a key', [], sealed, 'a place'],
    ['with other keys', [old, other], sealed, 'a place'],
    ['bound to something else', [key], sealed, 'a place '],
    ['with one more character', [key], `${sealed}A`, 'a place'],
    ['in another spelling', [key], `${sealed}=`, 'a place'],
    ['empty', [key], '', 'a place'],
    ['too short to be one', [key], sealed.slice(0, 20), 'a place'],
    ['of nothing but nonce and tag', [key], randomBytes(28).toString('base64url'), 'a place'],
  ] as const) {
    it(`is not opened ${what}`, () => assert.equal(openSealedText(keys, text, boundTo), undefined));
  }

  it('is not opened where any byte was changed', () => {
    const bytes = Buffer.from(sealed, 'base64url');
    for (const i of bytes.keys()) {
      const changed = Buffer.from(bytes);
      changed[i] = (changed[i] ?? 0) ^ 1;
      assert.equal(openSealedText([key], changed.toString('base64url'), 'a place'), undefined, `byte ${i}`);
    }
  });

  it('is not made without a key', () => assert.throws(() => sealText([], 'text', ''), /no key/));
});
