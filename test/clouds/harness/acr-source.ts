import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { CallOptions, Credential, CredentialSource } from '../../../src/contracts/index.js';
import { driver } from '../../../src/credential-sources/acr.js';
import { describeError, type RegistryError } from '../../../src/errors.js';
import { parseRegistryHost } from '../../../src/reference/registry-host.js';
import { parseRepositoryName } from '../../../src/reference/repository-name.js';
import { revealCredential } from '../../../src/testing/conformance/credential-source.js';
import { rejectsWith } from '../../../src/testing/conformance/suite.js';
import { FakeLog } from '../../../src/testing/fake-log.js';
import { FakeMetrics } from '../../../src/testing/fake-metrics.js';
import { type AzureHouse, type AzureIdentityKind, azureVariables, openAzureHouse } from './azure-house.js';
import { startIdentityEndpoint } from './azure-identity-endpoint.js';
import { hostsThatSaw } from './front-secrets.js';

export const o: CallOptions = { signal: new AbortController().signal };
export const target = (host: string) => ({
  registry: parseRegistryHost(host),
  name: parseRepositoryName('team/app'),
});

/** Opens the driver as the program does. */
export async function openSource(
  t: TestContext,
  { directory }: Pick<AzureHouse, 'directory'>,
  settings: object,
): Promise<CredentialSource> {
  const source = await driver.open(driver.config.parse(settings), {
    ...{ id: 'test', baseDirectory: directory, clock: Date, log: new FakeLog(), metrics: new FakeMetrics() },
  });
  t.after(() => source.close());
  return source;
}

/** Forms write more characters as `%7E` and its like than URLs do. */
export const whoSaw = (house: AzureHouse, secret: string) => [
  ...new Set([secret, formEncoded(secret)].flatMap((form) => hostsThatSaw(house.world, form))),
];
const formEncoded = (text: string) => new URLSearchParams({ '': text }).toString().slice(1);

/** A house, and the source with this kind of identity. */
export async function openAcrSource(
  t: TestContext,
  kind: AzureIdentityKind,
  { settings = {}, ...options }: Parameters<typeof openAzureHouse>[1] & { settings?: object } = {},
) {
  const house = await openAzureHouse(t, options);
  const machine = await startIdentityEndpoint(house.entra, 'imds', house.application);
  t.after(() => machine.close());
  azureVariables(t, { AZURE_POD_IDENTITY_AUTHORITY_HOST: machine.url });
  const source = await openSource(t, house, { ...house.settings(kind), ...settings });
  return { house, machine, source, known: target(house.acr.host) };
}

/** A failure's reason, which must show nothing secret. */
export async function reasonOf(source: CredentialSource, host: string, house: AzureHouse): Promise<string> {
  const error: RegistryError = await rejectsWith(() => source.credentialFor(target(host), o), 'UNAVAILABLE');
  const told = describeError(error);
  for (const secret of [house.secret, house.entra.tenant, house.application.clientId, ...house.entra.given]) {
    assert.ok(!told.includes(secret), `${told} tells ${secret}`);
  }
  assert.ok(!/Trace ID|Correlation/.test(told), told);
  return told;
}

export const tokenOf = (credential: Credential | undefined) => {
  assert.equal(credential?.kind, 'identity-token');
  return credential === undefined ? '' : revealCredential(credential);
};
