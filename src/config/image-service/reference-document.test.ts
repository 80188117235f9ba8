import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { it } from 'node:test';
import { imageServiceReference } from './reference-document.js';

it('docs/kubelet-image-service/configuration.md is what `npm run docs` writes', async () => {
  const file = new URL('../../../docs/kubelet-image-service/configuration.md', import.meta.url);
  assert.equal(await readFile(file, 'utf8'), await imageServiceReference());
});
