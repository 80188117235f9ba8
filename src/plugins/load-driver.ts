import { z } from 'zod';
import { type Driver, type DriverKind, type DriverKinds, driverApiVersion } from '../contracts/driver.js';
import type { NodeRuntime } from '../contracts/runtime.js';
import { describeError } from '../errors.js';
import type { DriverMap } from './driver-map.js';
import { loadModule } from './load-module.js';
import { didYouMean } from './suggest.js';

/** A driver by its type, or from outside this package. */
export type DriverChoice =
  | { readonly type: string }
  /** A file, or a package that is installed for `baseDirectory`. */
  | { readonly module: string; readonly type?: string; readonly baseDirectory: string };

/** A driver that is not there, does not load, or was made for other contracts. One line, for the operator. */
export class DriverError extends Error {
  override readonly name = 'DriverError';
}

/**
 * The driver of this kind. Code from `module` runs with all rights of this process.
 *
 * @throws DriverError
 */
export async function loadDriver<K extends DriverKind>(
  kind: K,
  choice: DriverChoice,
  drivers: DriverMap,
): Promise<Driver<K>> {
  if ('module' in choice) return loadForeign(kind, choice.module, choice.baseDirectory, choice.type);
  const known: DriverMap[K] = drivers[kind];
  const load = Object.hasOwn(known, choice.type) ? known[choice.type] : undefined;
  if (load === undefined) {
    const types = Object.keys(known);
    throw new DriverError(
      `unknown type '${choice.type}'; known: ${types.join(', ')}${didYouMean(choice.type, types)}`,
    );
  }
  try {
    return requireDriver(kind, (await load()).driver);
  } catch (error) {
    throw new DriverError(`the ${kind} driver '${choice.type}' does not load: ${describeError(error)}`, {
      cause: error,
    });
  }
}

async function loadForeign<K extends DriverKind>(
  kind: K,
  module: string,
  baseDirectory: string,
  type: string | undefined,
): Promise<Driver<K>> {
  let exported: Readonly<Record<string, unknown>>;
  try {
    exported = await loadModule(module, baseDirectory);
  } catch (error) {
    throw new DriverError(`module ${module} does not load: ${describeError(error)}`, { cause: error });
  }
  const candidate = exported.driver ?? defaultOf(exported);
  if (candidate === undefined) {
    throw new DriverError(`module ${module} exports neither 'driver' nor a default`);
  }
  try {
    const driver = requireDriver(kind, candidate);
    if (type !== undefined && type !== driver.type) {
      throw new DriverError(`it holds the type '${driver.type}', not '${type}'`);
    }
    return withCheckedOpening(driver);
  } catch (error) {
    throw new DriverError(`module ${module}: ${describeError(error)}`, { cause: error });
  }
}

/** Compilers that write CommonJS put a default into the default. */
function defaultOf({ default: one }: Readonly<Record<string, unknown>>): unknown {
  const isCompiled = typeof one === 'object' && one !== null && '__esModule' in one;
  const { driver, default: inner } = (isCompiled ? one : {}) as Readonly<Record<string, unknown>>;
  return driver ?? inner ?? one;
}

/** What each contract cannot be without. */
const methods: Readonly<Record<DriverKind, readonly string[]>> = {
  verifier: ['verify', 'close'],
  'credential-source': ['credentialFor', 'close'],
  policy: ['decide', 'relevant', 'close'],
  'token-issuer': ['issue', 'open', 'publicKeys', 'derivedKeys', 'close'],
  runtime: ['close'], // and those of its `kind`
  upstream: ['fetch', 'canonicalName', 'probe', 'close'],
  'blob-store': [
    ...['open', 'create', 'mark', 'changed', 'link', 'linkOf', 'unlink'],
    ...['status', 'verify', 'prune', 'close'],
  ],
  'state-store': ['get', 'put', 'compareAndSet', 'delete', 'list', 'close'],
};

/** By the `kind` of what a driver of kind `runtime` opens. */
const runtimeMethods: Readonly<Record<NodeRuntime['kind'], readonly string[]>> = {
  engine: ['pull', 'status', 'list', 'remove', 'fsInfo', 'ping'],
  cri: ['begin'],
};

/** @throws Error where a runtime does not say of which kind it is */
function missingMethod(kind: DriverKind, opened: Readonly<Record<string, unknown>>): string | undefined {
  const needed = kind === 'runtime' ? [...methods.runtime, ...methodsOfRuntime(opened.kind)] : methods[kind];
  return needed.find((name) => typeof opened[name] !== 'function');
}

function methodsOfRuntime(kind: unknown): readonly string[] {
  if (kind === 'engine' || kind === 'cri') return runtimeMethods[kind];
  throw new Error(`what its 'open' gave has no 'kind'; expected ${Object.keys(runtimeMethods).join(' or ')}`);
}

/** What no compiler has checked fails when it is opened, and not at the first request. */
function withCheckedOpening<K extends DriverKind>(driver: Driver<K>): Driver<K> {
  const { apiVersion, kind, type, config: schema } = driver;
  return {
    ...{ apiVersion, kind, type, config: schema },
    usualCredentials: (config) => driver.usualCredentials?.(config),
    async open(config, dependencies): Promise<DriverKinds[K]['opens']> {
      const opened: unknown = await driver.open(config, dependencies);
      const missing = missingMethod(driver.kind, Object(opened));
      if (missing !== undefined) throw new Error(`what its 'open' gave has no method '${missing}'`);
      return opened as DriverKinds[K]['opens'];
    },
  };
}

/** @throws DriverError where the value is no driver of this kind and of this version of the contracts */
function requireDriver<K extends DriverKind>(kind: K, value: unknown): Driver<K> {
  if (typeof value !== 'object' || value === null) throw new DriverError('it is not a driver object');
  const driver = value as Partial<Record<keyof Driver, unknown>>;
  if (driver.apiVersion !== driverApiVersion) {
    throw new DriverError(
      `it was made for apiVersion ${JSON.stringify(driver.apiVersion) ?? 'none'}; this program has ${driverApiVersion}`,
    );
  }
  if (driver.kind !== kind) {
    throw new DriverError(`it is a driver of kind '${String(driver.kind)}'; expected '${kind}'`);
  }
  if (typeof driver.type !== 'string' || driver.type === '') throw new DriverError("it has no 'type'");
  if (!isSchema(driver.config)) throw new DriverError("its 'config' is not a zod 4 schema");
  if (typeof driver.open !== 'function') throw new DriverError("it has no 'open' function");
  return value as Driver<K>;
}

/** A module may bring its own copy of zod 4, so `instanceof` alone would refuse good drivers. */
function isSchema(value: unknown): boolean {
  if (value instanceof z.ZodType) return true;
  return (
    typeof value === 'object' &&
    value !== null &&
    '_zod' in value &&
    typeof (value as { safeParseAsync?: unknown }).safeParseAsync === 'function'
  );
}
