import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { widerNetwork } from '../decorators/client-network.js';
import { FairTurns } from '../decorators/fair-turns.js';
import { untilAborted } from '../decorators/single-flight.js';
import { describeError, RegistryError } from '../errors.js';
import { type ConfiguredProgram, openProgram, programKeys } from '../outgoing/configured-program.js';
import type { ProgramResult } from '../outgoing/run-program.js';
import { duration } from '../settings/duration.js';
import { answerFrom, verifyRequest } from './exec/verify-request.js';
import { acceptsKey, type ShownSecret, secretShown } from './outside/shown-secret.js';
import { told } from './outside/told.js';

/** Of all networks; waiting logins beyond this are told to come back. */
const waitingPrograms = 100;

const config = z.strictObject({
  command: programKeys.command,
  ...acceptsKey,
  environment: programKeys.environment,
  timeout: duration({ min: '100ms', max: '1m' })
    .prefault('10s')
    .describe('For its turn to come, and then for it to answer. Who takes longer is killed.'),
  concurrency: programKeys.concurrency,
});
type ExecSettings = z.output<typeof config>;

interface ExecParts {
  readonly id: string;
  readonly settings: ExecSettings;
  readonly program: ConfiguredProgram;
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
    const { id, settings, program } = this.#parts;
    try {
      return await program.run({ input: verifyRequest(id, shown), timeLimit: settings.timeout, signal });
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
    return `the program ${this.#parts.program.name}: ${what}`;
  }
}

function endOf({ code, stderr }: ProgramResult, shown: ShownSecret): string {
  const line = told(stderr, shown);
  return `${code === undefined ? 'a signal ended it' : `it ended with ${code}`}${line === '' ? '' : `: ${line}`}`;
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'exec',
  config,
  async open(settings, { id, baseDirectory, log }) {
    const program = await openProgram(settings, { id, baseDirectory, log });
    return new ExecVerifier({ id, settings, program });
  },
});
