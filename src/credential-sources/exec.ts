import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import {
  type CallOptions,
  type Clock,
  type Credential,
  type CredentialSource,
  type CredentialTarget,
  type DriverDependencies,
  defineDriver,
} from '../contracts/index.js';
import { NotAwaited } from '../decorators/not-awaited.js';
import { describeError, RegistryError } from '../errors.js';
import { type ConfiguredProgram, openProgram, programKeys } from '../outgoing/configured-program.js';
import { type ProgramTurn, ProgramTurns } from '../outgoing/program-turns.js';
import { duration } from '../settings/duration.js';
import { DockerProtocol } from './exec/docker-protocol.js';
import type { HelperProtocol } from './exec/helper-protocol.js';
import { KubeletProtocol } from './exec/kubelet-protocol.js';

const protocols = ['docker-credential-helper', 'kubelet'] as const;

const config = z
  .strictObject({
    command: programKeys.command,
    protocol: z
      .enum(protocols, { error: `expected ${protocols.join(' or ')}` })
      .describe(
        '`docker-credential-helper`: `get` is added to the command, the registry stands on standard input. `kubelet`: ' +
          'an image credential provider of Kubernetes, version `credentialprovider.kubelet.k8s.io/v1`.',
      ),
    environment: programKeys.environment.describe(
      'Its environment. Nothing of this program’s own is added but `PATH` and `HOME`.',
    ),
    server: z
      .string({ error: 'expected a server' })
      .regex(/^[\x21-\x7e]+$/, 'expected a server, in one word')
      .optional()
      .describe(
        'With `docker-credential-helper`: what it is asked for. The registry’s `host[:port]` where it is missing, and ' +
          '`https://index.docker.io/v1/` for Docker Hub.',
      ),
    refresh: duration({ min: '1s', max: '12h' })
      .prefault('5m')
      .describe(
        'How long an answer is used before it is asked again. With `kubelet` for an answer without `cacheDuration`.',
      ),
    timeout: duration({ min: '100ms', max: '1m' })
      .prefault('20s')
      .describe('For its turn to come and for it to answer, together. Who takes longer is killed.'),
    concurrency: programKeys.concurrency,
  })
  .refine(({ protocol, server }) => server === undefined || protocol === 'docker-credential-helper', {
    path: ['server'],
    message: 'means something with protocol docker-credential-helper only',
  });
type ExecSettings = z.output<typeof config>;

/** Any helper that docker or kubelet would ask. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'exec',
  config,
  async open(settings: ExecSettings, { id, baseDirectory, clock, log }: DriverDependencies) {
    const program = await openProgram(settings, { id, baseDirectory, log, inherits: ['HOME'] });
    const { concurrency, timeout } = settings;
    const turns = new ProgramTurns({ atOnce: concurrency, timeLimit: timeout });
    const protocol =
      settings.protocol === 'kubelet' ? new KubeletProtocol(settings) : new DockerProtocol(settings);
    return new ExecSource({ program, protocol, turns, clock });
  },
});

interface ExecParts {
  readonly program: ConfiguredProgram;
  readonly protocol: HelperProtocol;
  readonly turns: ProgramTurns;
  readonly clock: Clock;
}

/** As many as the program keeps credentials for. */
const maxGiven = 1000;

/** Asks a program. It inherits no secret of ours, and nothing of it outlives its time (threat 26). */
class ExecSource implements CredentialSource {
  readonly #parts: ExecParts;
  /** The keys of what was given before; no secret. */
  readonly #given = new LRUCache<string, true>({ max: maxGiven });

  constructor(parts: ExecParts) {
    this.#parts = parts;
  }

  keyFor(target: CredentialTarget): string {
    return this.#parts.protocol.keyFor(target);
  }

  async credentialFor(
    target: CredentialTarget,
    {
      signal,
      rejected,
      isAwaited,
    }: CallOptions & { readonly rejected?: Credential; readonly isAwaited?: () => boolean },
  ): Promise<Credential | undefined> {
    const { program, protocol, turns, clock } = this.#parts;
    const turn = { signal, ...this.#placeOf(target), ...(isAwaited && { isAwaited }) };
    const input = protocol.inputFor(target);
    const now = clock.now();
    try {
      const result = await turns.run(turn, (o) => program.run({ args: protocol.args, input, ...o }));
      const credential = protocol.credentialFrom(result, target, { now, ...(rejected && { rejected }) });
      if (credential !== undefined) this.#given.set(this.keyFor(target), true);
      return credential;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof NotAwaited) throw error;
      const reason = `the program ${program.name}: ${describeError(error)}`;
      throw new RegistryError('UNAVAILABLE', { reason });
    }
  }

  /** Where each image is asked for, clients say how many there are: repositories beside each other share their turns. */
  #placeOf(target: CredentialTarget): Pick<ProgramTurn, 'group' | 'isNew'> {
    if (target.name === undefined) return {};
    const group = target.name.split('/').slice(0, -1).join('/');
    return { group, isNew: !this.#given.has(this.keyFor(target)) };
  }

  async close(): Promise<void> {
    this.#parts.turns.close();
  }
}
