import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { it } from 'node:test';
import { referenceDocument } from './reference-document.js';

it('docs/configuration.md is what `npm run docs` writes', async () => {
  const stored = await readFile(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  assert.equal(stored, await referenceDocument());
});
