// npm run --silent sbom [-- cyclonedx|spdx]
//
// Prints the list of production packages that package-lock.json names. `npm sbom --omit dev` alone would leave out those
// that packages of development need, too.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './prepare.mjs';

const format = process.argv[2] ?? 'cyclonedx';
const read = (name) => JSON.parse(readFileSync(join(root, name), 'utf8'));
const { devDependencies: _, ...own } = read('package.json');
const lock = read('package-lock.json');
const packages = Object.fromEntries(Object.entries(lock.packages).filter(([, { dev }]) => !dev));
const { devDependencies: __, ...top } = packages[''];

const directory = mkdtempSync(join(tmpdir(), 'drp-sbom-'));
try {
  const write = (name, value) => writeFileSync(join(directory, name), JSON.stringify(value));
  write('package.json', own);
  write('package-lock.json', { ...lock, packages: { ...packages, '': top } });
  const args = ['sbom', '--package-lock-only', '--sbom-format', format];
  const { status } = spawnSync('npm', args, { cwd: directory, stdio: ['ignore', 'inherit', 'inherit'] });
  process.exitCode = status ?? 1;
} finally {
  rmSync(directory, { recursive: true });
}
