import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, ClientCredentials, Log, Principal, Verifier } from '../contracts/index.js';
import { widerNetwork } from '../decorators/client-network.js';
import { FairTurns } from '../decorators/fair-turns.js';
import { untilAborted } from '../decorators/single-flight.js';
import { describeError, RegistryError } from '../errors.js';
import { openSecret, type SecretReader } from '../outgoing/open-secret.js';
import { duration } from '../settings/duration.js';
import { readableFile } from '../settings/file-path.js';
import { type SecretSource, secretSource } from '../settings/secret-source.js';
import { type ProgramResult, runProgram } from './exec/run-program.js';
import { answerFrom, verifyRequest } from './exec/verify-request.js';
import { acceptsKey, type ShownSecret, secretShown } from './outside/shown-secret.js';
import { told } from './outside/told.js';

/** Of all networks; waiting logins beyond this are told to come back. */
const waitingPrograms = 100;
const usualPath = '/usr/local/bin:/usr/bin:/bin';

const argument = z.string({ error: 'expected a text' }).regex(/^[^\0]*$/, 'expected a text without NUL');
const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'expected the name of a variable');

const config = z.strictObject({
  command: z
    .tuple([readableFile()], argument, { error: 'expected a list: the program, and its arguments' })
    .describe(
      'The program, by an absolute path or one that counts from the configuration, and its arguments. No shell reads them.',
    ),
  ...acceptsKey,
  environment: z
    .record(variable, z.union([argument, secretSource()], { error: 'expected a text or a secret' }))
    .default({})
    .describe('Its environment. Nothing of this program’s own is added but `PATH`.'),
  timeout: duration({ min: '100ms', max: '1m' })
    .prefault('10s')
    .describe('For its turn to come, and then for it to answer. Who takes longer is killed.'),
  concurrency: z
    .int({ error: 'expected a whole number' })
    .min(1)
    .max(256)
    .default(4)
    .describe('Programs at the same time.'),
});
type ExecSettings = z.output<typeof config>;

interface ExecParts {
  readonly id: string;
  readonly settings: ExecSettings;
  /** Absolute. */
  readonly program: string;
  readonly baseDirectory: string;
  readonly environment: () => Promise<Readonly<Record<string, string>>>;
}

/**
 * Asks a program: JSON on its standard input, JSON on its standard output. It inherits no secret of ours, no file and
 * no terminal, and nothing of it outlives its time (threat 26).
 */
export class ExecVerifier implements Verifier {
  readonly #parts: ExecParts;
  readonly #turns: FairTurns;
  readonly #asked = new Set<AbortController>();
  #isClosed = false;

  constructor(parts: ExecParts) {
    this.#parts = parts;
    this.#turns = new FairTurns({
      atOnce: parts.settings.concurrency,
      waiting: waitingPrograms,
      refusal: () => this.#busy('too many logins wait for their turn'),
    });
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    o.signal.throwIfAborted();
    const shown = secretShown(credentials, this.#parts.settings.accepts);
    if (shown === undefined) return undefined;
    const result = await this.#inTurn(credentials.connection.address, o, (signal) =>
      this.#run(shown, signal),
    );
    if (result.code !== 0) throw this.#unavailable(endOf(result, shown));
    const answer = answerFrom(result.stdout, (name) => told(name, shown));
    if ('fault' in answer) throw this.#unavailable(`its answer is none: ${answer.fault}`);
    if ('notMine' in answer) return undefined;
    if ('principal' in answer) return { verifier: this.#parts.id, ...answer.principal };
    const reason = this.#says(`refused: ${told(answer.refused, shown) || 'without a word'}`);
    throw new RegistryError('UNAUTHORIZED', { reason });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const one of this.#asked) one.abort(this.#closed());
  }

  async #inTurn<V>(
    address: string,
    { signal }: CallOptions,
    work: (signal: AbortSignal) => Promise<V>,
  ): Promise<V> {
    if (this.#isClosed) throw this.#closed();
    const leaving = new AbortController();
    const onAbort = () => leaving.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const timer = setTimeout(
      () => leaving.abort(this.#busy('a login waited too long for its turn')),
      this.#parts.settings.timeout,
    );
    this.#asked.add(leaving);
    const done = this.#turns
      .run(widerNetwork(address), { signal: leaving.signal }, () => {
        clearTimeout(timer); // the program has a limit of its own
        return work(leaving.signal);
      })
      .finally(() => {
        this.#asked.delete(leaving);
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      });
    // Who leaves is let go at once; a program keeps its turn until it is gone.
    return untilAborted(done, leaving.signal);
  }

  async #run(shown: ShownSecret, signal: AbortSignal): Promise<ProgramResult> {
    const { id, settings, program, baseDirectory, environment } = this.#parts;
    const [, ...args] = settings.command;
    try {
      return await runProgram({
        program,
        args,
        cwd: baseDirectory,
        environment: await environment(),
        input: verifyRequest(id, shown),
        timeLimit: settings.timeout,
        signal,
      });
    } catch (error) {
      signal.throwIfAborted();
      throw this.#unavailable(describeError(error));
    }
  }

  #closed(): RegistryError {
    return this.#unavailable('the verifier is closed');
  }

  #busy(reason: string): RegistryError {
    return new RegistryError('TOOMANYREQUESTS', { retryAfter: 5, reason: this.#says(reason) });
  }

  #unavailable(reason: string): RegistryError {
    return new RegistryError('UNAVAILABLE', { reason: this.#says(reason) });
  }

  #says(what: string): string {
    return `the program ${this.#parts.settings.command[0].text}: ${what}`;
  }
}

function endOf({ code, stderr }: ProgramResult, shown: ShownSecret): string {
  const line = told(stderr, shown);
  return `${code === undefined ? 'a signal ended it' : `it ended with ${code}`}${line === '' ? '' : `: ${line}`}`;
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
  given: { readonly id: string; readonly baseDirectory: string; readonly log: Log },
): Promise<ExecParts['environment']> {
  const secrets = new Map<string, SecretReader>();
  const plain: Record<string, string> = { PATH: process.env.PATH ?? usualPath };
  for (const [name, value] of Object.entries(environment)) {
    if (typeof value === 'string') plain[name] = value;
    else secrets.set(name, await openSecret(value, given));
  }
  return async () => {
    const read = [...secrets].map(async ([name, secret]) => [name, (await secret()).reveal()] as const);
    return { ...plain, ...Object.fromEntries(await Promise.all(read)) };
  };
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'exec',
  config,
  async open(settings, { id, baseDirectory, log }) {
    const program = resolve(baseDirectory, settings.command[0].text);
    await requireExecutable(program);
    const environment = await openEnvironment(settings.environment, { id, baseDirectory, log });
    return new ExecVerifier({ id, settings, program, baseDirectory, environment });
  },
});
