import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isGuid } from './guid.js';

const rows: Readonly<Record<string, boolean>> = {
  '02aab8a4-74ef-476e-8182-f6d2ba4166a6': true,
  '02AAB8A4-74EF-476E-8182-F6D2BA4166A6': true,
  '02aab8a474ef476e8182f6d2ba4166a6': false,
  '{02aab8a4-74ef-476e-8182-f6d2ba4166a6}': false,
  '02aab8a4-74ef-476e-8182-f6d2ba4166a6\n': false,
  '02aab8a4-74ef-476e-8182-f6d2ba4166ag': false,
  '': false,
};
for (const [text, expected] of Object.entries(rows)) {
  test(`${JSON.stringify(text)} is ${expected ? 'a' : 'no'} GUID`, () => {
    assert.equal(isGuid(text), expected);
  });
}
