import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadHelperSettings } from '../../src/bin/credential-helper/settings.js';

// Each configuration of the helper that a document shows is one.

const root = fileURLToPath(new URL('../../docs', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'drp-helper-documents-'));
after(() => rmSync(directory, { recursive: true }));

const blocks = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.md'))
  .flatMap((name) =>
    [...readFileSync(join(root, name), 'utf8').matchAll(/^```ya?ml\n(registries:\n[\s\S]*?)^```$/gm)].map(
      ([, text = '']) => ({ name, text }),
    ),
  );

test('there are some', () => assert.ok(blocks.length > 0, 'none was found'));

for (const [i, { name, text }] of blocks.entries()) {
  test(`${name}: configuration ${i + 1}`, async () => {
    const file = join(directory, `${i}.yaml`);
    writeFileSync(file, text, { mode: 0o600 });
    const { registries } = await loadHelperSettings(file, {});
    assert.equal(registries.length, text.match(/match:/g)?.length);
  });
}
