import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { z } from 'zod';
import type { CallOptions, Log } from '../contracts/index.js';
import { readableFile } from '../settings/file-path.js';
import { type SecretSource, secretSource } from '../settings/secret-source.js';
import { openSecret, type SecretReader } from './open-secret.js';
import { type ProgramResult, runProgram } from './run-program.js';

const usualPath = '/usr/local/bin:/usr/bin:/bin';

const argument = z.string({ error: 'expected a text' }).regex(/^[^\0]*$/, 'expected a text without NUL');
const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'expected the name of a variable');

/** A program that the configuration names: keys that every driver which runs one has. */
export const programKeys = {
  command: z
    .tuple([readableFile()], argument, { error: 'expected a list: the program, and its arguments' })
    .describe(
      'The program, by an absolute path or one that counts from the configuration, and its arguments. No shell reads them.',
    ),
  environment: z
    .record(variable, z.union([argument, secretSource()], { error: 'expected a text or a secret' }))
    .default({})
    .describe('Its environment. Nothing of this program’s own is added but `PATH`.'),
  concurrency: z
    .int({ error: 'expected a whole number' })
    .min(1)
    .max(256)
    .default(4)
    .describe('Programs at the same time.'),
};

const schema = z.object(programKeys);
export type ProgramSettings = z.output<typeof schema>;

export interface ProgramRun extends CallOptions {
  /** After those of the configuration. */
  readonly args?: readonly string[];
  readonly input: string;
  /** Milliseconds. */
  readonly timeLimit: number;
}

export interface ConfiguredProgram {
  /** As it is written in the configuration, for messages. */
  readonly name: string;
  /** @throws as `runProgram` does */
  run(o: ProgramRun): Promise<ProgramResult>;
}

/**
 * @param given.inherits variables of ours that it gets beside its own: never one that could hold a secret
 * @throws an Error with a one-line message where it is not there, or may not be executed, or a secret is missing
 */
export async function openProgram(
  { command, environment }: ProgramSettings,
  given: {
    /** Of the driver. */
    readonly id: string;
    readonly baseDirectory: string;
    readonly log: Log;
    readonly inherits?: readonly 'HOME'[];
  },
): Promise<ConfiguredProgram> {
  const [{ text: name }, ...args] = command;
  const program = resolve(given.baseDirectory, name);
  await requireExecutable(program);
  const readEnvironment = await openEnvironment(environment, given);
  return {
    name,
    run: async ({ args: more = [], ...o }) =>
      runProgram({
        ...{ program, args: [...args, ...more], cwd: given.baseDirectory },
        environment: await readEnvironment(),
        ...o,
      }),
  };
}

/** `PATH` as every program gets it, and of our variables those that are named. */
export function plainEnvironment(inherits: readonly 'HOME'[] = []): Record<string, string> {
  const plain: Record<string, string> = { PATH: process.env.PATH ?? usualPath };
  for (const name of inherits) {
    const value = process.env[name];
    if (value !== undefined) plain[name] = value;
  }
  return plain;
}

/** @throws an Error with a one-line message */
async function requireExecutable(file: string): Promise<void> {
  const found = await stat(file).catch(() => undefined);
  if (found === undefined) throw new Error(`there is no program ${file}`);
  if (!found.isFile()) throw new Error(`${file} is not a file`);
  await access(file, constants.X_OK).catch(() => {
    throw new Error(`${file} may not be executed by this user: chmod +x`);
  });
}

/** Secrets are read when a program starts, so that a rotation needs no restart. */
async function openEnvironment(
  environment: Readonly<Record<string, string | SecretSource>>,
  given: {
    readonly id: string;
    readonly baseDirectory: string;
    readonly log: Log;
    readonly inherits?: readonly 'HOME'[];
  },
): Promise<() => Promise<Readonly<Record<string, string>>>> {
  const secrets = new Map<string, SecretReader>();
  const plain = plainEnvironment(given.inherits);
  for (const [name, value] of Object.entries(environment)) {
    if (typeof value === 'string') plain[name] = value;
    else secrets.set(name, await openSecret(value, given));
  }
  return async () => {
    const read = [...secrets].map(async ([name, secret]) => [name, (await secret()).reveal()] as const);
    return { ...plain, ...Object.fromEntries(await Promise.all(read)) };
  };
}
