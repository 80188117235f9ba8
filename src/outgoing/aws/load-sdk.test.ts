import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

// A configuration without AWS must not pay for its SDK.

test('no module loads the SDK with itself', () => {
  const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
  const all = readdirSync(root, { recursive: true, encoding: 'utf8' });
  const files = all.filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));
  const loads = /^(?:import|export) (?!type\b)[^;]*from '@(?:aws-sdk|smithy)\//m;
  const loading = files.filter((file) => loads.test(readFileSync(join(root, file), 'utf8')));
  assert.deepEqual(loading, []);
  assert.ok(files.length > 100, `only ${files.length} files`);
});
