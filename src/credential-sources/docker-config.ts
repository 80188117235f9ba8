import { resolve } from 'node:path';
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
import { describeError, RegistryError } from '../errors.js';
import { plainEnvironment } from '../outgoing/configured-program.js';
import { ProgramTurns } from '../outgoing/program-turns.js';
import { runProgram } from '../outgoing/run-program.js';
import { ChangingFile } from '../settings/changing-file.js';
import { readableFile } from '../settings/file-path.js';
import { type DockerConfig, helperServer, keysFor, parseDockerConfig } from './docker-config-file.js';
import { credentialFromHelper, getArguments } from './docker-helper.js';

const config = z.strictObject({
  file: readableFile().describe(
    'A `config.json` of docker (or an `auth.json` of podman): `auths`, `credHelpers` and `credsStore` are used. It is ' +
      'read again when it changes. Helpers are found on PATH.',
  ),
});

/** The credentials docker would use. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'docker-config',
  config,
  async open(settings: z.output<typeof config>, { id, baseDirectory, clock, log }: DriverDependencies) {
    const file = new ChangingFile(resolve(baseDirectory, settings.file.text), {
      parse: parseDockerConfig,
      maxSize: maxFile,
      onFailure: (error) =>
        log.error({ id, error: describeError(error) }, 'the docker configuration cannot be read again'),
    });
    const first = await file.read().catch((error: unknown) => {
      throw new Error(describeError(error), { cause: error });
    });
    return new DockerConfigSource(file, first, clock);
  },
});

const maxFile = 1024 * 1024;
/** Milliseconds that a helper's answer is used before it is asked again. */
const helperLife = 60_000;
/** Milliseconds for one helper, its wait for a turn included. */
const helperTime = 20_000;
const helpersAtOnce = 4;

/** Where a credential of the file comes from: the helper to ask first, and the entry that serves where it has none. */
interface Origin {
  readonly helper?: string;
  /** What the helper knows the registry by. */
  readonly server: string;
  readonly entry?: string;
}

class DockerConfigSource implements CredentialSource {
  readonly #file: ChangingFile<DockerConfig>;
  readonly #clock: Clock;
  readonly #turns = new ProgramTurns({ atOnce: helpersAtOnce, timeLimit: helperTime });
  /** As it was read last, for `keyFor` cannot wait. */
  #config: DockerConfig;

  constructor(file: ChangingFile<DockerConfig>, config: DockerConfig, clock: Clock) {
    this.#file = file;
    this.#config = config;
    this.#clock = clock;
  }

  keyFor(target: CredentialTarget): string {
    const { helper = '', server, entry = '' } = originOf(target, this.#config);
    return [server, helper, entry].join(' ');
  }

  async credentialFor(target: CredentialTarget, o: CallOptions): Promise<Credential | undefined> {
    o.signal.throwIfAborted();
    const config = await this.#file.read();
    this.#config = config;
    const { helper, server, entry } = originOf(target, config);
    const written = entry === undefined ? undefined : config.credentials.get(entry);
    if (helper === undefined) return written;
    const refreshAt = this.#clock.now() + helperLife;
    const credential = (await this.#ask(helper, server, o)) ?? written;
    return credential && { ...credential, refreshAt };
  }

  async close(): Promise<void> {
    this.#turns.close();
  }

  async #ask(helper: string, server: string, { signal }: CallOptions): Promise<Credential | undefined> {
    const program = `docker-credential-${helper}`;
    try {
      const call = { program, args: getArguments, environment: plainEnvironment(['HOME']), input: server };
      return credentialFromHelper(await this.#turns.run({ signal }, (o) => runProgram({ ...call, ...o })));
    } catch (error) {
      signal.throwIfAborted();
      throw new RegistryError('UNAVAILABLE', { reason: `${program}: ${describeError(error)}` });
    }
  }
}

function originOf(target: CredentialTarget, { credentials, helpers, store }: DockerConfig): Origin {
  const keys = keysFor(target);
  const helper = keys.map((key) => helpers.get(key)).find((name) => name !== undefined) ?? store;
  const entry = keys.find((key) => credentials.has(key));
  return {
    server: helperServer(target.registry),
    ...(helper !== undefined && { helper }),
    ...(entry !== undefined && { entry }),
  };
}
