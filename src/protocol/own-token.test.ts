import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isOwnToken } from './own-token.js';

describe('a token of ours', () => {
  for (const [text, expected] of [
    [`drp_pat_${'A'.repeat(43)}`, true],
    [`drp_refresh_${'A'.repeat(43)}`, true],
    ['drp_', true],
    [' drp_pat_half', true],
    ['\t\r\n\u00a0\u3000\ufeffdrp_pat_', true],
    ['', false],
    ['drp', false],
    ['DRP_PAT_', false],
    ['xdrp_pat_', false],
    ['alice', false],
  ] as const) {
    it(`${JSON.stringify(text)}: ${expected}`, () => assert.equal(isOwnToken(text), expected));
  }
});
