import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { userNameKey } from './user-name-key.js';

describe('the user name that failures are counted by', () => {
  for (const [name, spellings] of Object.entries({
    alice: [
      ...['ALICE', 'aLiCe', ' alice', 'alice  ', '\talice\n', '\u3000alice\u00a0', '\ufeffalice'],
      ...['ａｌｉｃｅ', 'ＡＬＩＣＥ', 'ⓐlice', '𝐚lice', 'al\u00adice', 'al\u200bice', 'al\u2060ice'],
      ...['al\u0000ice', 'al\u001fice', '\u202ealice', 'al\ufe0fice', 'al\u034fice', 'al\u{e0041}ice'],
    ],
    'al ice': ['al  ice', 'AL \t ICE', 'al\u00a0ice', 'al\u2003\u2003ice', 'al \u200b ice', 'al\u0085ice'],
    strasse: ['straße', 'STRASSE', 'STRAẞE', 'ſtrasse'],
    josé: ['jose', 'JOSE\u0301', 'jose\u0301'],
    σίσυφος: ['ΣΊΣΥΦΟΣ', 'σίσυφοσ'],
    '': [' ', '\u200b', '\u0000', ' \u00ad '],
  })) {
    for (const spelling of spellings) {
      it(`${JSON.stringify(spelling)} is ${JSON.stringify(name)}`, () =>
        assert.equal(userNameKey(spelling), userNameKey(name)));
    }
  }

  it('is not the same for everybody', () => {
    const names = ['alice', 'alicia', 'al ice', 'a.lice', 'alice1', 'bob', '爱丽丝', ''];
    assert.equal(new Set(names.map(userNameKey)).size, names.length);
  });

  it('does not depend on case, nor on how often it is made', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        const key = userNameKey(name);
        assert.equal(userNameKey(key), key);
        assert.equal(userNameKey(` ${name}\u00ad `), key);
      }),
    );
  });
});
