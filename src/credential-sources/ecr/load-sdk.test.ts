import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

// A configuration without ECR must not pay for its SDK.

test('no module loads the SDK with itself', () => {
  const folder = dirname(fileURLToPath(import.meta.url));
  const files = [join(folder, '../ecr.ts'), ...readdirSync(folder).map((name) => join(folder, name))];
  const loads = /^(?:import|export) (?!type\b)[^;]*from '@(?:aws-sdk|smithy)\//m;
  const loading = files.filter((file) => loads.test(readFileSync(file, 'utf8')));
  assert.deepEqual(loading, []);
  assert.ok(files.length > 5, `only ${files.length} files`);
});
