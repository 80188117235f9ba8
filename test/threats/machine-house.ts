import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import type { TestContext } from 'node:test';
import { presignedQuery } from '../../src/outgoing/aws/signing.js';
import { identityEnvelope, type machineUsers } from '../../src/protocol/identity-envelope.js';
import { callerIdentityCall, serverIdHeader, stsProof } from '../../src/protocol/sts-proof.js';
import { AwsIdentities, type AwsKeys } from '../clouds/harness/aws-identities.js';
import { type Sts, startSts } from '../clouds/harness/aws-sts.js';
import { type AzureAuthorities, startAzureAuthorities } from '../clouds/harness/azure-attested.js';
import { type Entra, startEntra } from '../clouds/harness/azure-entra.js';
import type { Issued } from '../clouds/harness/azure-pki.js';
import {
  type GoogleIdentity,
  startGoogleIdentity,
  virtualMachine,
} from '../clouds/harness/google-identity.js';
import { startWorld, type World } from '../clouds/harness/world.js';
import { basic, claimsOf, type Front, type Scope, startFront } from '../harness/index.js';

// Machines of several clouds in front of one proxy, and what they show.

export const audience = 'docker.test';
export const region = 'eu-west-1';
export const account = '123456789012';
export const otherAccount = '999999999999';
/** Of Azure. */
export const subscription = '6f1c2d3e-4b5a-4c6d-8e7f-901234567890';

export interface MachineHouse {
  readonly world: World;
  readonly identities: AwsIdentities;
  readonly sts: Sts;
  readonly google: GoogleIdentity;
  readonly azure: AzureAuthorities;
  /** The certificate of Azure's metadata services. */
  readonly azureSigner: Issued;
  readonly entra: Entra;
  /** The verifier of Azure's machines, of the subscription and the tenant here. */
  readonly azureVerifier: string;
  /** `proxy` and `ca`, to end a verifier's settings with. */
  readonly way: string;
  /** With these verifiers, whose principals may pull everything; nothing is remembered. */
  open(t: Scope, verifiers: readonly string[], more?: string): Promise<Front>;
}

export async function openMachineHouse(scope: Scope): Promise<MachineHouse> {
  const world = await startWorld();
  scope.after(() => world.close());
  const identities = new AwsIdentities();
  const azure = await startAzureAuthorities(world);
  const entra = startEntra(world);
  entra.audiences.push(audience, 'other.example.com');
  const way = `proxy: "${world.proxyUrl}", ca: world.pem`;
  return {
    ...{ world, identities, way },
    sts: startSts(world, identities, region),
    google: startGoogleIdentity(world),
    ...{ azure, entra, azureSigner: await azure.certificate() },
    azureVerifier:
      `{ id: azure, type: azure-identity, audiences: [${audience}], subscriptions: [${subscription}], ` +
      `tenants: [${entra.tenant}], roots: root.pem, ${way} }`,
    open: (t, verifiers, more = '') => {
      const ids = verifiers.map((one) => /\bid: ([\w-]+)/.exec(one)?.[1] ?? assert.fail(`no id: ${one}`));
      return startFront(
        t,
        `
upstreams: { one: { url: "http://127.0.0.1:9" } }
routes: [{ prefix: "", upstream: one }]
trustedProxies: [127.0.0.1]
rememberLogins: { accepted: 0s, refused: 0s }
state: { type: file, path: state }
verifiers:
${verifiers.map((one) => `  - ${one}`).join('\n')}
policy:
  - { names: [${ids.map((id) => `"${id}:*"`).join(', ')}], repositories: ["**"], actions: [pull] }
${more}
`,
        { files: { 'world.pem': world.authority, 'root.pem': azure.root.pem } },
      );
    },
  };
}

/** A role's session of an account. */
export function sessionOf(identities: AwsIdentities, accountId = account, role = 'node'): Required<AwsKeys> {
  return identities.session(
    `arn:aws:sts::${accountId}:assumed-role/${role}/i-${randomBytes(4).toString('hex')}`,
  );
}

/** What the `aws-sts` source would show. */
export async function stsProofOf(identity: AwsKeys, shownFor = audience, at = region): Promise<string> {
  const query = await presignedQuery(
    {
      ...{ method: 'GET', host: `sts.${at}.amazonaws.com`, query: callerIdentityCall },
      headers: { [serverIdHeader]: shownFor },
    },
    { identity, service: 'sts', region: at, now: Date.now(), life: 900 },
  );
  return stsProof(shownFor, query);
}

/** A token of one machine of the project `acme-build`; no two are the same. */
export function gcpToken(
  google: GoogleIdentity,
  shownFor = audience,
  projectId = virtualMachine.projectId,
): string {
  const machine = { ...virtualMachine, projectId };
  return google.fullToken(shownFor, machine, 'vm@acme.iam.gserviceaccount.com', {
    jti: randomBytes(8).toString('hex'),
  });
}

export type MachineUser = (typeof machineUsers)[keyof typeof machineUsers];

export interface Shown {
  readonly user: MachineUser;
  /** With its envelope, or as it is. */
  readonly password: string;
}

export function shown(user: MachineUser, proof: string): Shown {
  return { user, password: identityEnvelope(proof) };
}

export interface Login {
  readonly status: number;
  /** Qualified, where it was let in. */
  readonly principal: string | undefined;
  /** Of the token line. */
  readonly reason: string;
}

/** @param from as the load balancer says; @param localAddress where it really comes from */
export async function login(
  front: Front,
  { user, password }: Shown,
  from: string,
  localAddress = '127.0.0.1',
): Promise<Login> {
  const headers = { host: 'docker.test', authorization: basic(user, password), 'x-forwarded-for': from };
  const path = '/token?service=docker.test&scope=repository:team/app:pull';
  const answer = await new Promise<{ status: number; id: string; text: string }>((resolve, reject) => {
    const call = httpRequest({
      host: '127.0.0.1',
      port: front.port,
      path,
      headers,
      localAddress,
      agent: false,
    });
    call.setTimeout(60_000, () => call.destroy(new Error('nothing came for 60 s')));
    call.on('error', reject);
    call.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        text += piece;
      });
      const id = String(response.headers['x-request-id']);
      response.once('end', () => resolve({ status: response.statusCode ?? 0, id, text }));
    });
    call.end();
  });
  const line = await front.logLine((one) => one.requestId === answer.id && one.event === 'token');
  if (answer.status !== 200) {
    assert.doesNotMatch(answer.text, /amazonaws|proof|bound|account|127\.0\.0\.1/, 'the answer tells why');
    return { status: answer.status, principal: undefined, reason: String(line.reason ?? '') };
  }
  const { sub } = claimsOf((JSON.parse(answer.text) as { token: string }).token);
  return { status: 200, principal: sub, reason: '' };
}

/** The proof, and what it is made of, must be nowhere in the log. */
export function assertNotLogged(t: TestContext, front: Front, { password }: Shown): void {
  const pieces = [password.slice(0, 120), password.slice(-60)];
  t.after(() => {
    for (const piece of pieces) assert.ok(!front.log().includes(piece), 'a proof is in the log');
  });
}
