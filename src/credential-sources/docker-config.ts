import { resolve } from 'node:path';
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
import { SingleFlight } from '../decorators/single-flight.js';
import { Turns } from '../decorators/turns.js';
import { describeError, RegistryError } from '../errors.js';
import { ChangingFile } from '../settings/changing-file.js';
import { readableFile } from '../settings/file-path.js';
import { type DockerConfig, helperServer, keysFor, parseDockerConfig } from './docker-config-file.js';
import { askHelper } from './docker-helper.js';

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
    await file.read().catch((error: unknown) => {
      throw new Error(describeError(error), { cause: error });
    });
    return new DockerConfigSource(file, clock);
  },
});

const maxFile = 1024 * 1024;
/** Milliseconds that a helper's answer is used, also that it knows none. */
const helperLife = 60_000;
/** Milliseconds for one helper, its wait for a turn included. */
const helperTime = 20_000;
const helpersAtOnce = 4;

class DockerConfigSource implements CredentialSource {
  readonly #file: ChangingFile<DockerConfig>;
  readonly #clock: Clock;
  readonly #answers = new LRUCache<string, { credential: Credential | undefined; until: number }>({
    max: 1000,
  });
  readonly #flights = new SingleFlight<Credential | undefined>(helperTime);
  readonly #turns = new Turns(helpersAtOnce);

  constructor(file: ChangingFile<DockerConfig>, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  async credentialFor(
    target: CredentialTarget,
    o: CallOptions & { readonly rejected?: Credential },
  ): Promise<Credential | undefined> {
    o.signal.throwIfAborted();
    const { credentials, helpers, store } = await this.#file.read();
    const keys = keysFor(target);
    const host = keys[keys.length - 1] ?? '';
    const helper = keys.map((key) => helpers.get(key)).find((name) => name !== undefined) ?? store;
    const helped = helper === undefined ? undefined : await this.#ask(helper, helperServer(host), o);
    return helped ?? keys.map((key) => credentials.get(key)).find((credential) => credential !== undefined);
  }

  async close(): Promise<void> {
    this.#flights.close();
    this.#answers.clear();
  }

  async #ask(
    helper: string,
    server: string,
    o: CallOptions & { readonly rejected?: Credential },
  ): Promise<Credential | undefined> {
    const key = `${helper} ${server}`;
    const known = o.rejected === undefined ? this.#answers.get(key) : undefined;
    if (known !== undefined && known.until > this.#clock.now()) return known.credential;
    // An answer under way may be the one that was refused.
    const flight = o.rejected === undefined ? key : `${key} again`;
    try {
      return await this.#flights.run(flight, o, async (signal) => {
        const credential = await this.#turns.run({ signal }, () => askHelper(helper, server, { signal }));
        this.#answers.set(key, { credential, until: this.#clock.now() + helperLife });
        return credential;
      });
    } catch (error) {
      if (error instanceof RegistryError || o.signal.aborted) throw error;
      throw new RegistryError('UNAVAILABLE', { reason: `docker-credential-${helper}`, cause: error });
    }
  }
}
