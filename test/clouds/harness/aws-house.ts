import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Credential, CredentialSource } from '../../../src/contracts/index.js';
import { driver } from '../../../src/credential-sources/ecr.js';
import { RegistryError } from '../../../src/errors.js';
import { parseRegistryHost } from '../../../src/reference/registry-host.js';
import { FakeClock } from '../../../src/testing/fake-clock.js';
import { FakeLog } from '../../../src/testing/fake-log.js';
import { FakeMetrics } from '../../../src/testing/fake-metrics.js';
import { AwsIdentities, owner } from './aws-identities.js';
import { type Sts, startSts } from './aws-sts.js';
import { type EcrApi, startEcrApi } from './ecr-api.js';
import { startWorld, type World } from './world.js';

export const region = 'eu-west-1';
export const target = { registry: parseRegistryHost(`${owner}.dkr.ecr.${region}.amazonaws.com`) };

/** AWS as a machine of ours sees it, and what a source of ours is opened with. */
export interface AwsHouse {
  readonly world: World;
  readonly identities: AwsIdentities;
  readonly sts: Sts;
  readonly ecr: EcrApi;
  readonly log: FakeLog;
  readonly clock: FakeClock;
  /** Absolute; what is written here is gone after the test. */
  readonly directory: string;
  /** Writes a file. @returns its absolute path */
  file(name: string, text: string): string;
  /** `proxy` and `ca` for a configuration. */
  readonly way: { readonly proxy: string; readonly ca: string };
  open(settings?: object): Promise<Awaited<ReturnType<typeof driver.open>>>;
}

/** The variables of this process are a machine's own until the test ends: no key, no file, no metadata server is known. */
export function awsEnvironment(
  t: TestContext,
  directory: string,
  env: Readonly<Record<string, string>> = {},
): void {
  const before = Object.entries(process.env).filter(([name]) => name.startsWith('AWS_'));
  const clear = () => {
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  };
  clear();
  Object.assign(process.env, nowhere(directory), env);
  t.after(() => {
    clear();
    Object.assign(process.env, Object.fromEntries(before));
  });
}

/** AWS variables that lead to nothing outside a directory. */
export function nowhere(directory: string): Readonly<Record<string, string>> {
  return {
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: join(directory, 'aws-config'),
    AWS_SHARED_CREDENTIALS_FILE: join(directory, 'aws-credentials'),
  };
}

/** For AWS_ACCESS_KEY_ID and its like. */
export function keysInEnvironment(keys: {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}): Readonly<Record<string, string>> {
  return {
    AWS_ACCESS_KEY_ID: keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
    ...(keys.sessionToken !== undefined && { AWS_SESSION_TOKEN: keys.sessionToken }),
  };
}

export async function startAwsHouse(t: TestContext): Promise<AwsHouse> {
  const directory = mkdtempSync(join(tmpdir(), 'aws-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const world = await startWorld();
  t.after(() => world.close());
  const identities = new AwsIdentities();
  const log = new FakeLog();
  const clock = new FakeClock(Date.now());
  const file = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const way = { proxy: world.proxyUrl, ca: file('world.pem', world.authority) };
  const metrics = new FakeMetrics();
  return {
    ...{ world, identities, log, clock, directory, file, way },
    sts: startSts(world, identities, region),
    ecr: startEcrApi(world, identities, { region }),
    open: async (settings = {}) => {
      const config = driver.config.parse({ ...way, timeout: '5s', ...settings });
      const source = await driver.open(config, { id: 'aws', baseDirectory: directory, clock, log, metrics });
      t.after(() => source.close());
      return source;
    },
  };
}

/** The credential for the registry of our account. */
export async function ask(source: CredentialSource, rejected?: Credential): Promise<Credential> {
  const signal = new AbortController().signal;
  const credential = await source.credentialFor(target, { signal, ...(rejected && { rejected }) });
  assert.ok(credential, 'no credential');
  return credential;
}

/** Whose a credential is, by what ECR noted when it gave it. */
export function ownerOf({ ecr }: AwsHouse, credential: Credential): string {
  assert.ok(credential.kind === 'basic' && credential.username === 'AWS', 'the user is AWS');
  const given = ecr.passwords.get(credential.password.reveal());
  assert.ok(given, 'ECR gave no such password');
  return given.arn;
}

/** Why there is no credential, in one line for operators. */
export async function reasonOf(
  house: AwsHouse,
  asked: Promise<unknown>,
  code = 'UNAVAILABLE',
): Promise<string> {
  const error = await asked.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, `no RegistryError: ${String(error)}`);
  assert.equal(error.code, code);
  const reason = error.reason ?? '';
  assert.match(reason, /^[^\n]+$/);
  noSecretIn(house, reason, error.message, String(error.cause), error.stack ?? '');
  return reason;
}

export function noSecretIn(house: AwsHouse, ...texts: readonly string[]): void {
  const all = [...texts, house.log.text].join('\n');
  for (const secret of house.identities.secrets) assert.ok(!all.includes(secret), 'a secret was told');
}

/** Keys as a file of shared credentials has them. */
export function profile(name: string, keys: { accessKeyId: string; secretAccessKey: string }): string {
  const { accessKeyId, secretAccessKey } = keys;
  return `[${name}]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`;
}
