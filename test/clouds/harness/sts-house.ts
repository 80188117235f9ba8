import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { inspect } from 'node:util';
import type {
  ClientCredentials,
  CredentialSource,
  Principal,
  Verifier,
} from '../../../src/contracts/index.js';
import { driver as sourceDriver } from '../../../src/credential-sources/aws-sts.js';
import { RegistryError } from '../../../src/errors.js';
import { presignedQuery } from '../../../src/outgoing/aws/signing.js';
import { identityEnvelope } from '../../../src/protocol/identity-envelope.js';
import { serverIdHeader, stsProof } from '../../../src/protocol/sts-proof.js';
import { parseRegistryHost } from '../../../src/reference/registry-host.js';
import { Secret } from '../../../src/secret.js';
import { MemoryStateStore } from '../../../src/state-stores/memory.js';
import { FakeClock } from '../../../src/testing/fake-clock.js';
import { FakeLog } from '../../../src/testing/fake-log.js';
import { FakeMetrics } from '../../../src/testing/fake-metrics.js';
import { driver as verifierDriver } from '../../../src/verifiers/aws-sts.js';
import { AwsIdentities, type AwsKeys, owner } from './aws-identities.js';
import { type Sts, startSts } from './aws-sts.js';
import { startWorld, type World } from './world.js';

export const audience = 'docker.example.com';
export const stsRegion = 'eu-west-1';
export const target = { registry: parseRegistryHost(audience) };
export const roleArn = `arn:aws:iam::${owner}:role/node`;
export const sessionArn = `arn:aws:sts::${owner}:assumed-role/node/i-0123456789abcdef0`;

/** The query of a request, whole and good unless a test changes it. */
export interface Signing {
  readonly keys: AwsKeys;
  readonly audience?: string;
  readonly region?: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Signed along, beside or in place of the server's id. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly method?: 'GET' | 'POST';
  readonly host?: string;
  /** Milliseconds since the epoch. */
  readonly now?: number;
  /** Seconds. */
  readonly life?: number;
}

/** STS, and both sides of a proof: a machine's source and a proxy's verifier. */
export interface StsHouse {
  readonly world: World;
  readonly identities: AwsIdentities;
  readonly sts: Sts;
  readonly clock: FakeClock;
  readonly log: FakeLog;
  readonly directory: string;
  /** `proxy` and `ca` for a configuration. */
  readonly way: { readonly proxy: string; readonly ca: string };
  source(settings?: object): Promise<CredentialSource>;
  verifier(settings?: object, id?: string): Promise<Verifier>;
  /** Keys of a session of the role `node`. */
  session(): Required<AwsKeys>;
  sign(signing: Signing): Promise<Readonly<Record<string, string>>>;
  /** `docker.example.com?Action=…`, good as it is. */
  proof(signing?: Partial<Signing>): Promise<string>;
}

export async function startStsHouse(t: TestContext): Promise<StsHouse> {
  const directory = mkdtempSync(join(tmpdir(), 'sts-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const world = await startWorld();
  t.after(() => world.close());
  const identities = new AwsIdentities();
  const clock = new FakeClock(Date.now());
  const log = new FakeLog();
  const state = new MemoryStateStore(clock);
  t.after(() => state.close());
  const ca = join(directory, 'world.pem');
  writeFileSync(ca, world.authority);
  const way = { proxy: world.proxyUrl, ca };
  const given = { baseDirectory: directory, clock, log, metrics: new FakeMetrics() };
  const house: StsHouse = {
    ...{ world, identities, clock, log, directory, way },
    sts: startSts(world, identities, stsRegion),
    source: async (settings = {}) => {
      const config = sourceDriver.config.parse({ ...way, timeout: '5s', ...settings });
      const source = await sourceDriver.open(config, { ...given, id: 'sts' });
      t.after(() => source.close());
      return source;
    },
    verifier: async (settings = {}, id = 'aws') => {
      const usual = { ...way, timeout: '5s', accounts: [owner], audiences: [audience] };
      const config = verifierDriver.config.parse({ ...usual, ...settings });
      const verifier = await verifierDriver.open(config, { ...given, id, state });
      t.after(() => verifier.close());
      return verifier;
    },
    session: () => identities.session(sessionArn),
    sign: (signing) => sign({ now: clock.now(), ...signing }),
    proof: async (signing = {}) => {
      const { keys = house.session(), audience: audienceOf = audience } = signing;
      return stsProof(audienceOf, await house.sign({ ...signing, keys }));
    },
  };
  return house;
}

async function sign({
  keys,
  region = stsRegion,
  ...more
}: Signing): Promise<Readonly<Record<string, string>>> {
  const { host = `sts.${region}.amazonaws.com`, method = 'GET', now = Date.now(), life = 900 } = more;
  const query = more.query ?? { Action: 'GetCallerIdentity', Version: '2011-06-15' };
  const headers = more.headers ?? { [serverIdHeader]: more.audience ?? audience };
  const call = { identity: keys, service: 'sts', region, now, life };
  return presignedQuery({ method, host, query, headers }, call);
}

/** Login of a docker client. */
export function shown(password: string, address = '192.0.2.1', username = '_sts'): ClientCredentials {
  return { shown: { kind: 'password', username, password: new Secret(password) }, connection: { address } };
}

/** @param proof is put into an envelope */
export function verify(verifier: Verifier, proof: string, address?: string): Promise<Principal | undefined> {
  return verifier.verify(shown(identityEnvelope(proof), address), { signal: new AbortController().signal });
}

/** Why somebody is refused; nothing of what they showed is told. */
export async function refusalOf(
  asked: Promise<unknown>,
  secrets: readonly string[],
  code: 'UNAUTHORIZED' | 'UNAVAILABLE' = 'UNAUTHORIZED',
): Promise<string> {
  const error = await asked.then(
    (answer) => assert.fail(`not refused: ${inspect(answer)}`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, `no RegistryError: ${inspect(error)}`);
  assert.equal(error.code, code, error.reason);
  assert.equal(error.isProof, code === 'UNAUTHORIZED', 'a proof is nothing that somebody guesses');
  const reason = error.reason ?? '';
  assert.match(reason, /^[^\n]+$/);
  const all = `${inspect(error, { depth: 10 })} ${JSON.stringify(error)}`;
  for (const secret of secrets) assert.ok(!all.includes(secret), `a secret was told: ${reason}`);
  return reason;
}
