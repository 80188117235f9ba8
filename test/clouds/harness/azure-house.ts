import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Acr, type AcrRole, startAcr } from './acr-registry.js';
import {
  createTokenIssuer,
  type Entra,
  type EntraApplication,
  federationAudience,
  startEntra,
} from './azure-entra.js';
import type { Storage } from './storage.js';
import { startWorld, type World } from './world.js';

/** The three ways to be somebody in Azure, all of them the same application. */
export const azureIdentities = ['managed', 'federated', 'secret'] as const;
export type AzureIdentityKind = (typeof azureIdentities)[number];

/** A tenant, an application with every kind of proof, and one registry. */
export interface AzureHouse {
  readonly world: World;
  readonly entra: Entra;
  readonly application: EntraApplication;
  readonly acr: Acr;
  /** Holds `world.pem`, `secret` and `token`. */
  readonly directory: string;
  /** The application's secret, as the file has it. */
  readonly secret: string;
  /** Another token of the cluster's into `token`. @returns it */
  renewToken(options?: {
    readonly lifetime?: number;
    readonly subject?: string;
    readonly audience?: string;
  }): string;
  /** Settings of the source, without its type. */
  settings(kind: AzureIdentityKind): Readonly<Record<string, unknown>>;
}

const subject = 'system:serviceaccount:proxy:docker-registry-proxy';

/** @param scope ends it all */
export async function openAzureHouse(
  scope: { after(close: () => Promise<void> | void): void },
  options: { readonly storage?: Storage; readonly roles?: readonly AcrRole[]; readonly host?: string } = {},
): Promise<AzureHouse> {
  const { storage, roles = ['AcrPush'], host } = options;
  const directory = mkdtempSync(join(tmpdir(), 'azure-'));
  scope.after(() => rmSync(directory, { recursive: true, force: true }));
  const world = await startWorld();
  scope.after(() => world.close());
  const entra = startEntra(world);
  const cluster = createTokenIssuer();
  const secret = `Q~${randomUUID()}~s`;
  const { issuer, key } = cluster;
  const federated = [{ issuer, subject, audience: federationAudience, key }];
  const application = entra.register({ secrets: [secret], federated });
  const acr = startAcr(world, { entra, ...(storage && { storage }), ...(host && { host }) });
  acr.roles.set(application.clientId, roles);
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text, { mode: 0o600 });
  const renewToken: AzureHouse['renewToken'] = (o) => {
    const token = cluster.token({ subject, ...o });
    write('token', token);
    return token;
  };
  write('world.pem', world.authority);
  write('secret', `${secret}\n`);
  renewToken();
  const common = { proxy: world.proxyUrl, ca: 'world.pem' };
  const own = { tenant: entra.tenant, clientId: application.clientId };
  const kinds = {
    managed: common,
    federated: { ...common, ...own, tokenFile: 'token' },
    secret: { ...common, ...own, clientSecret: { file: 'secret' } },
  };
  return { world, entra, application, acr, directory, secret, renewToken, settings: (kind) => kinds[kind] };
}

const variables = [
  'AZURE_POD_IDENTITY_AUTHORITY_HOST',
  'IDENTITY_ENDPOINT',
  'IDENTITY_HEADER',
  'IDENTITY_SERVER_THUMBPRINT',
  'AZURE_FEDERATED_TOKEN_FILE',
  'AZURE_TENANT_ID',
  'AZURE_CLIENT_ID',
  'AZURE_AUTHORITY_HOST',
] as const;

/** This process has these variables of Azure's, and no others, until the test's end. */
export function azureVariables(
  scope: { after(close: () => void): void },
  values: Readonly<Partial<Record<(typeof variables)[number], string>>>,
): void {
  const before = variables.map((name) => [name, process.env[name]] as const);
  const put = (name: string, value: string | undefined) => {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  };
  for (const name of variables) put(name, values[name]);
  scope.after(() => {
    for (const [name, value] of before) put(name, value);
  });
}
