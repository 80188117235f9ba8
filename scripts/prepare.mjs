// What start and test need before anything of this package can be imported. Node's own modules only.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout's directory. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Ends the process with a message where this Node.js is older than `engines` in package.json says. */
export function requireNode(version = process.versions.node) {
  const wanted = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node.replace(/^>=/, '');
  if (compareVersions(version, wanted) >= 0) return;
  console.error(`This needs Node.js ${wanted} or newer; ${process.execPath} is ${version}.`);
  process.exit(2);
}

/** Runs `npm ci` where the installed packages are not those of package-lock.json. */
export function installPackages() {
  const lock = join(root, 'package-lock.json');
  const stamp = join(root, 'node_modules', '.installed-lock');
  const wanted = createHash('sha256').update(readFileSync(lock)).digest('hex');
  if (existsSync(stamp) ? readFileSync(stamp, 'utf8') === wanted : installedByHand(lock)) return;
  step('installing packages', 'npm', ['ci', '--no-audit', '--no-fund']);
  writeFileSync(stamp, wanted);
}

/** Compiles `src` to `dist` where `dist` is older. */
export function build() {
  if (isBuilt()) return;
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  step('building', 'npm', ['run', '--silent', 'build']);
  writeFileSync(join(root, 'dist', '.built'), '');
}

/** True where `dist` was built from `src` as it is now. */
function isBuilt() {
  const stamp = join(root, 'dist', '.built');
  if (!existsSync(stamp)) return false;
  const inputs = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json'].map((name) =>
    join(root, name),
  );
  // A directory's own time changes when a file in it is removed or renamed.
  const sources = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
  const built = statSync(stamp).mtimeMs;
  return [...inputs, ...sources].every((file) => statSync(file).mtimeMs <= built);
}

function installedByHand(lock) {
  const written = join(root, 'node_modules', '.package-lock.json');
  return existsSync(written) && statSync(written).mtimeMs >= statSync(lock).mtimeMs;
}

function step(what, command, args) {
  console.error(`${what}: ${command} ${args.join(' ')}`);
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (status === 0) return;
  console.error(`${what} failed${error ? `: ${error.message}` : ''}`);
  process.exit(status ?? 1);
}

/** Negative, 0 or positive, as sorting wants it; what is missing counts as 0. */
function compareVersions(a, b) {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  const differences = [0, 1, 2].map((i) => (left[i] ?? 0) - (right[i] ?? 0));
  return differences.find((difference) => difference !== 0) ?? 0;
}
