import { document, startAwsDocuments } from '../../clouds/harness/aws-documents.js';
import { AwsIdentities, owner } from '../../clouds/harness/aws-identities.js';
import { startSts } from '../../clouds/harness/aws-sts.js';
import { createAzureMachine, startAzureAuthorities } from '../../clouds/harness/azure-attested.js';
import { startEntra } from '../../clouds/harness/azure-entra.js';
import { startIdentityEndpoint } from '../../clouds/harness/azure-identity-endpoint.js';
import { startGceMetadata } from '../../clouds/harness/gce-metadata.js';
import { startGoogleIdentity, virtualMachine } from '../../clouds/harness/google-identity.js';
import { googleAccounts } from '../../clouds/harness/google-token-endpoint-accounts.js';
import { startImds } from '../../clouds/harness/imds.js';
import type { World } from '../../clouds/harness/world.js';
import { startKubernetesApi } from '../../identity/harness/kubernetes-api.js';
import type { Workspace } from './workspace.js';

/** What machines and their clouds stand on. */
export interface Ground {
  readonly workspace: Workspace;
  readonly world: World;
  /** The host that machines know the proxy by. */
  readonly audience: string;
  /** How the proxy reaches the world. */
  readonly way: { readonly proxy: string; readonly ca: string };
  after(close: () => Promise<void> | void): void;
}

export interface CloudMachine {
  /** Of the verifier that knows it or its like. */
  readonly verifier: string;
  /** Of this verifier's machines: `gcp`, `azure-token`. */
  readonly kind: string;
  /** Whether it is one of ours: of our project, account, subscription, namespace. */
  readonly isOurs: boolean;
  /** That project, account, subscription, namespace. */
  readonly of: string;
  /** How programs on it find its metadata server. */
  readonly variables: Readonly<Record<string, string>>;
  /** Where the helper does not find out what to show. */
  readonly credentials?: object;
}

/** An entry of `verifiers`. */
export interface VerifierSettings {
  readonly id: string;
  readonly [setting: string]: unknown;
}

export interface CloudMachines {
  readonly machines: readonly CloudMachine[];
  readonly verifiers: readonly VerifierSettings[];
  /** Everything that any of them has shown, or signed with. */
  secrets(): readonly string[];
  /** What metadata servers were asked. */
  asked(): readonly string[];
}

const region = 'eu-west-1';
const strangers = { project: 'evil-corp', account: '999999999999', namespace: 'strangers' };
const subscriptions = {
  ours: '6f1c2d3e-4b5a-4c6d-8e7f-901234567890',
  theirs: '0a1b2c3d-9e8f-4a7b-8c6d-5e4f3a2b1c0d',
};

export async function startGoogleMachines(ground: Ground): Promise<CloudMachines> {
  const { world, audience, way } = ground;
  const google = startGoogleIdentity(world);
  const asked: (readonly string[])[] = [];
  const start = async (isOurs: boolean): Promise<CloudMachine> => {
    const metadata = await startGceMetadata(googleAccounts(), google);
    ground.after(() => metadata.close());
    asked.push(metadata.asked);
    const of = isOurs ? virtualMachine.projectId : strangers.project;
    metadata.machine = { ...virtualMachine, projectId: of };
    const variables = { GCE_METADATA_HOST: metadata.host };
    return { verifier: 'gcp', kind: 'gcp', isOurs, of, variables };
  };
  const projects = [virtualMachine.projectId];
  return {
    machines: [await start(true), await start(false)],
    verifiers: [{ id: 'gcp', type: 'gcp-identity', projects, audiences: [audience], ...way }],
    secrets: () => google.given,
    asked: () => asked.flat(),
  };
}

/** Each instance shows a request that its role signed, or its plain document. */
export async function startAwsMachines(ground: Ground): Promise<CloudMachines> {
  const { world, audience, way } = ground;
  const aws = new AwsIdentities();
  startSts(world, aws, region);
  const documents = startAwsDocuments([region]);
  ground.after(() => documents.close());
  const given: string[] = [];
  const asked: (() => readonly string[])[] = [];
  const start = async (isOurs: boolean): Promise<readonly CloudMachine[]> => {
    const of = isOurs ? owner : strangers.account;
    const rsa2048 = documents.sign({ ...document, accountId: of });
    given.push(...formsOf(rsa2048.replaceAll('\n', '')));
    const role = `arn:aws:sts::${of}:assumed-role/node/${document.instanceId}`;
    const imds = await startImds(aws, role, { instance: { documents: { rsa2048 } }, region });
    ground.after(() => imds.close());
    asked.push(() => [...imds.asked, ...imds.askedByVersion1.map((path) => `without a session: ${path}`)]);
    const instance = { isOurs, of, variables: { AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url } };
    return [
      { verifier: 'aws', kind: 'aws', ...instance },
      { verifier: 'ec2', kind: 'ec2', ...instance, credentials: { type: 'aws-identity' } },
    ];
  };
  const { directory } = documents;
  return {
    machines: [...(await start(true)), ...(await start(false))],
    verifiers: [
      { id: 'aws', type: 'aws-sts', accounts: [owner], audiences: [audience], ...way },
      { id: 'ec2', type: 'aws-identity', accounts: [owner], certificates: directory },
    ],
    secrets: () => [...aws.secrets, ...given],
    asked: () => asked.flatMap((one) => one()),
  };
}

/** Each machine shows an attested document, or the token of its managed identity. */
export async function startAzureMachines(ground: Ground): Promise<CloudMachines> {
  const { workspace, world, audience, way } = ground;
  const appId = 'api://docker-registry-proxy';
  const authorities = await startAzureAuthorities(world);
  const signer = await authorities.certificate();
  const entra = startEntra(world);
  entra.audiences.push(appId);
  const asked: (() => readonly string[])[] = [];
  const given: (readonly string[])[] = [entra.given];
  const start = async (isOurs: boolean): Promise<readonly CloudMachine[]> => {
    const of = isOurs ? subscriptions.ours : subscriptions.theirs;
    const vm = `/subscriptions/${of}/resourcegroups/Builders/providers/Microsoft.Compute/virtualMachines/one`;
    const identity = entra.register({ claims: { xms_mirid: vm } });
    const endpoint = await startIdentityEndpoint(entra, 'imds', identity);
    ground.after(() => endpoint.close());
    endpoint.machine = createAzureMachine({ signer, subscriptionId: of });
    given.push(endpoint.machine.given);
    asked.push(() => endpoint.requests.map(({ path }) => path));
    const machine = { isOurs, of, variables: { AZURE_POD_IDENTITY_AUTHORITY_HOST: endpoint.url } };
    const credentials = { type: 'azure-identity', method: 'token', audience: appId };
    return [
      { verifier: 'azure', kind: 'azure', ...machine },
      { verifier: 'azure', kind: 'azure-token', ...machine, credentials },
    ];
  };
  const roots = workspace.file('proxy/azure-root.pem', authorities.root.pem);
  const whose = { subscriptions: [subscriptions.ours], tenants: [entra.tenant] };
  return {
    machines: [...(await start(true)), ...(await start(false))],
    verifiers: [
      { id: 'azure', type: 'azure-identity', ...whose, audiences: [audience, appId], roots, ...way },
    ],
    secrets: () => given.flat().flatMap(formsOf),
    asked: () => asked.flatMap((one) => one()),
  };
}

export async function startPods(ground: Ground): Promise<CloudMachines> {
  const { workspace, audience } = ground;
  const cluster = await startKubernetesApi(ground);
  const given: string[] = [];
  const start = async (isOurs: boolean): Promise<CloudMachine> => {
    const of = isOurs ? 'ci' : strangers.namespace;
    const token = await cluster.token({ namespace: of, name: 'builder', audiences: [audience] });
    given.push(token);
    const credentials = { type: 'kubernetes-token', file: workspace.file(`pods/${of}/token`, token) };
    return { verifier: 'cluster', kind: 'cluster', isOurs, of, variables: {}, credentials };
  };
  const { issuer, caFile: ca } = cluster;
  const verifier = { id: 'cluster', type: 'kubernetes', issuer, ca, audiences: [audience] };
  return {
    machines: [await start(true), await start(false)],
    verifiers: [{ ...verifier, namespaces: ['ci'] }],
    secrets: () => given,
    asked: () => [],
  };
}

/** Of what is shown as base64url, and may turn up otherwise; a text without such bytes stays as it is. */
function formsOf(base64: string): readonly string[] {
  return [base64, encodeURIComponent(base64), Buffer.from(base64, 'base64').toString('base64url')];
}
