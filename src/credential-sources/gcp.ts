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
import { RegistryError } from '../errors.js';
import { HttpCaller } from '../outgoing/http-caller.js';
import { openDirectCaller } from '../outgoing/metadata/direct-caller.js';
import { isGoogleHost } from '../reference/google-host.js';
import { Secret } from '../secret.js';
import { readableFile } from '../settings/file-path.js';
import { registryHostName } from '../settings/registry-host-name.js';
import { serverKeys } from '../settings/server-keys.js';
import type { AccessToken } from './gcp/access-token.js';
import type { KeyFile } from './gcp/key-file.js';
import { askMetadataServer } from './gcp/metadata-server.js';
import { openKeyFile } from './gcp/open-key-file.js';

const presents = ['access-token', 'json-key', 'json-key-base64'] as const;

const config = z
  .strictObject({
    keyFile: readableFile()
      .optional()
      .describe(
        'A credential file of Google Cloud: the key of a service account, or a file of type `external_account` ' +
          '(workload identity federation), `impersonated_service_account` or `authorized_user`. It is read again when ' +
          'it changes. Without it, the file that the variable GOOGLE_APPLICATION_CREDENTIALS names; without that, the ' +
          'metadata server of the machine (GCE_METADATA_HOST).',
      ),
    serviceAccount: z
      .string()
      .regex(/^(?:default|[a-z0-9._-]+@[a-z0-9.-]+)$/, 'expected default, or the e-mail address of one')
      .optional()
      .describe(
        'Which service account of the machine the metadata server is asked for; `default` where it is missing. Where it ' +
          'is set the metadata server is asked, whatever GOOGLE_APPLICATION_CREDENTIALS says; not with `keyFile`.',
      ),
    present: z
      .enum(presents)
      .default('access-token')
      .describe(
        'What the registry is shown: a short-lived access token, or the key itself (`_json_key`, `_json_key_base64`), ' +
          'which only the key of a service account can be.',
      ),
    registryHosts: z
      .array(registryHostName())
      .default([])
      .describe(
        'Hosts that are shown the token, or the key, although they are neither `gcr.io` nor `*-docker.pkg.dev`: own ' +
          'names before these. Whoever has the token is the account at all of Google Cloud.',
      ),
    ...serverKeys,
  })
  .refine(({ keyFile, serviceAccount }) => keyFile === undefined || serviceAccount === undefined, {
    path: ['serviceAccount'],
    error: 'it is for the metadata server, which is not asked where there is a keyFile',
  });

type GcpConfig = z.output<typeof config>;

/** Google Container Registry and Artifact Registry (cloud.google.com/artifact-registry/docs/docker/authentication). */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'gcp',
  config,
  async open(settings: GcpConfig, dependencies: DriverDependencies): Promise<CredentialSource> {
    return new ForGoogleAlone(await openSource(settings, dependencies), new Set(settings.registryHosts));
  },
});

async function openSource(settings: GcpConfig, dependencies: DriverDependencies): Promise<CredentialSource> {
  const file = fileOf(settings);
  if (file === undefined) return openFromMetadata(settings, dependencies.clock);
  const read = await openKeyFile(file, dependencies);
  if (settings.present !== 'access-token') return fromKeyItself(read, settings.present);
  return openFromKey(read, settings, dependencies);
}

/** Shows nothing to others: the token says nothing of the registry it is for, and opens all of Google Cloud (threat 7). */
class ForGoogleAlone implements CredentialSource {
  readonly #inner: CredentialSource;
  readonly #named: ReadonlySet<string>;

  constructor(inner: CredentialSource, named: ReadonlySet<string>) {
    this.#inner = inner;
    this.#named = named;
  }

  keyFor({ registry }: CredentialTarget): string {
    return registry;
  }

  async credentialFor(target: CredentialTarget, o: CallOptions): Promise<Credential | undefined> {
    o.signal.throwIfAborted();
    const { registry } = target;
    if (!isGoogleHost(registry) && !this.#named.has(registry)) {
      throw new RegistryError('UNAVAILABLE', {
        reason: `${registry} is neither gcr.io nor *-docker.pkg.dev: no token is sent there. If it is Google's, name it in registryHosts`,
      });
    }
    return this.#inner.credentialFor(target, o);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

/** The variable's file counts from the working directory, as for all of Google's programs. */
function fileOf({ keyFile, serviceAccount }: GcpConfig): string | undefined {
  if (keyFile !== undefined) return keyFile.text;
  const named = process.env.GOOGLE_APPLICATION_CREDENTIALS;
  return serviceAccount === undefined && named ? resolve(named) : undefined;
}

function openFromMetadata(
  { present, serviceAccount = 'default', timeout }: GcpConfig,
  clock: Clock,
): CredentialSource {
  if (present !== 'access-token') {
    throw new Error(`present: ${present} needs a keyFile, or the variable GOOGLE_APPLICATION_CREDENTIALS`);
  }
  const caller = openDirectCaller({ timeout });
  const ask = (o: CallOptions) => askMetadataServer(caller, serviceAccount, { ...o, now: clock.now() });
  return sourceOf(ask, [caller]);
}

async function openFromKey(
  read: () => Promise<KeyFile>,
  settings: GcpConfig,
  { baseDirectory }: DriverDependencies,
): Promise<CredentialSource> {
  // Some tens of milliseconds and megabytes, which only those pay for who have a key.
  const { openKeyExchange } = await import('./gcp/key-exchange.js');
  const caller = await HttpCaller.open(settings, baseDirectory);
  const direct = openDirectCaller({ timeout: settings.timeout });
  const exchange = openKeyExchange({ caller, direct });
  return sourceOf(async (o) => exchange(await read(), o), [caller, direct]);
}

/** Google's registries take the token as a password (`gcloud auth print-access-token | docker login -u oauth2accesstoken`). */
function sourceOf(
  ask: (o: CallOptions) => Promise<AccessToken>,
  opened: readonly HttpCaller[],
): CredentialSource {
  return {
    // Whatever was refused, it is asked for anew: nothing is kept here.
    credentialFor: async (_target, { signal }) => {
      signal.throwIfAborted();
      const { token, ...times } = await ask({ signal });
      return { kind: 'basic', username: 'oauth2accesstoken', password: token, ...times };
    },
    close: async () => {
      await Promise.all(opened.map((caller) => caller.close()));
    },
  };
}

async function fromKeyItself(
  read: () => Promise<KeyFile>,
  present: 'json-key' | 'json-key-base64',
): Promise<CredentialSource> {
  const credential = async (): Promise<Credential> => {
    const key = await read();
    if (key.type !== 'service_account') {
      throw new Error(
        `present: ${present} needs the key of a service account; the file is of type ${key.type}`,
      );
    }
    if (present === 'json-key') return { kind: 'basic', username: '_json_key', password: key.text };
    const encoded = Buffer.from(key.text.reveal(), 'utf8').toString('base64');
    return { kind: 'basic', username: '_json_key_base64', password: new Secret(encoded) };
  };
  await credential();
  return {
    credentialFor: async (_target, { signal }) => {
      signal.throwIfAborted();
      return credential();
    },
    close: async () => {},
  };
}
