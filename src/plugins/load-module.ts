import { existsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describeError, hasCode } from '../errors.js';

/** How npm names packages, with a path inside one or without. */
const packageGrammar = /^(?:@[a-z0-9~-][\w.~-]*\/)?[a-z0-9~-][\w.~-]*(?:\/.*)?$/i;

/**
 * Imports a file (`./x.js`, `../x.js`, `/x.js`) or an installed package (everything else), as seen from a directory.
 *
 * @returns what it exports
 * @throws an Error with a one-line message that says what to do, where that is known
 */
export async function loadModule(
  module: string,
  baseDirectory: string,
): Promise<Readonly<Record<string, unknown>>> {
  const file = isPath(module)
    ? existingFile(resolve(baseDirectory, module))
    : packageFile(module, baseDirectory);
  try {
    return (await import(pathToFileURL(file).href)) as Readonly<Record<string, unknown>>;
  } catch (error) {
    const hint = importHint(file, error);
    throw new Error(`${describeError(error)}${hint === undefined ? '' : `; ${hint}`}`, { cause: error });
  }
}

function isPath(module: string): boolean {
  return /^(?:\.{1,2}\/|\/)/.test(module);
}

function existingFile(file: string): string {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) throw new Error(`there is no file ${file}`);
  if (found.isDirectory()) throw new Error(`${file} is a directory; name the file in it`);
  return file;
}

function packageFile(name: string, baseDirectory: string): string {
  if (existsSync(resolve(baseDirectory, name))) {
    throw new Error(`a file is written with its directory: ./${name}`);
  }
  if (!packageGrammar.test(name)) throw new Error('expected a file such as ./my-verifier.js, or a package');
  try {
    return createRequire(join(baseDirectory, 'configuration')).resolve(name);
  } catch (error) {
    throw new Error(`${packageFailure(name, baseDirectory, error)}`, { cause: error });
  }
}

function packageFailure(name: string, baseDirectory: string, error: unknown): string {
  if (hasCode(error, 'MODULE_NOT_FOUND')) {
    return `no package ${name} is installed for ${baseDirectory}; a file is written ./${name}`;
  }
  if (hasCode(error, 'ERR_PACKAGE_PATH_NOT_EXPORTED')) {
    return `the package exports nothing under ${name}: its "exports" need a text, or a "default"`;
  }
  return describeError(error);
}

/** What its author may not know: Node says what it saw, not why. */
export function importHint(file: string, error: unknown): string | undefined {
  const extension = extname(file);
  if (/^\.[cm]?tsx?$/.test(extension)) return 'it is TypeScript: compile it, and name the JavaScript';
  if (hasCode(error, 'ERR_MODULE_NOT_FOUND') && describeError(error).includes("'docker-registry-proxy'")) {
    return 'install docker-registry-proxy in its folder, or in one above it';
  }
  const isOfModules = /outside a module|Unexpected token 'export'|Unexpected identifier/;
  if (extension === '.js' && error instanceof SyntaxError && isOfModules.test(error.message)) {
    return 'if it is an ES module, name it .mjs, or write "type": "module" into the package.json beside it';
  }
  return undefined;
}
