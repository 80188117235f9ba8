import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The major version of Node.js that executables are made of. */
export const major = 24;
/** `e_machine` of elf(5). */
const machines = { x64: 62, arm64: 183 };

/** @typedef {{ readonly path: string, readonly version: string }} NodeBinary */

/**
 * A node binary that somebody brought.
 *
 * @param {keyof typeof machines} arch it has to be for
 * @returns {NodeBinary}
 * @throws an Error where it is for another machine, or of another major version
 */
export function givenNode(path, arch) {
  const bytes = readFileSync(path);
  const isElf = bytes.subarray(0, 4).toString('latin1') === '\x7fELF';
  if (!isElf || bytes.readUInt16LE(18) !== machines[arch]) {
    throw new Error(`${path}: expected an ELF program for ${arch}`);
  }
  // `process.release` has these addresses; it cannot be run where it is for another machine.
  const at = bytes.indexOf('/download/release/v');
  const [, version] = /v(\d+\.\d+\.\d+)\//.exec(bytes.toString('latin1', at, at + 40)) ?? [];
  if (at < 0 || version?.split('.')[0] !== String(major)) {
    throw new Error(`${path}: expected Node.js ${major}, found ${version ?? 'no version'}`);
  }
  return { path, version };
}

/**
 * Takes one from npm, where each platform has a package of its own.
 *
 * @param {string} version `24`, or all of it
 * @param {string} directory where it is put
 * @returns {NodeBinary}
 * @throws an Error with what npm says
 */
export function installedNode(arch, version, directory) {
  const name = `node-linux-${arch}`;
  // One each: npm takes away what it has not put there in the same run.
  const prefix = join(directory, arch);
  mkdirSync(prefix);
  const options = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline'];
  // Without `--force` npm refuses what is for another machine.
  const args = ['install', '--prefix', prefix, '--force', ...options, `${name}@${version}`];
  execFileSync('npm', args, { cwd: prefix, stdio: ['ignore', 'ignore', 'pipe'] });
  return givenNode(join(prefix, 'node_modules', name, 'bin/node'), arch);
}
