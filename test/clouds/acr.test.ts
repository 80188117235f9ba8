import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RefreshedCredentials } from '../../src/decorators/refreshed-credentials.js';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import { describeCredentialSourceConformance } from '../../src/testing/conformance/credential-source.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { o, openAcrSource, reasonOf, target, tokenOf, whoSaw } from './harness/acr-source.js';
import { azureIdentities } from './harness/azure-house.js';
import { hostsThatSaw } from './harness/front-secrets.js';

for (const kind of azureIdentities) {
  describeCredentialSourceConformance(
    `acr, ${kind}, as the program wraps it`,
    async (t) => {
      const { house, machine, source, known } = await openAcrSource(t, kind);
      const settings = {
        clock: Date,
        log: new FakeLog(),
        metrics: new FakeMetrics(),
        upstream: 'a',
        credential: 1,
      };
      const wrapped = new RefreshedCredentials(source, settings);
      return {
        source: wrapped,
        known,
        rotate: () => house.acr.tokens.revoke('refresh'),
        break: async () => {
          await machine.close();
          house.world.remove('login.microsoftonline.com');
        },
      };
    },
    ['it has none for a repository it does not know'],
  );
}

describe('a registry of Azure', () => {
  for (const kind of azureIdentities) {
    it(`gives a refresh token to ${kind}, good until its end`, async (t) => {
      const { house, source, known } = await openAcrSource(t, kind);
      const before = Date.now();
      const credential = await source.credentialFor(known, o);
      assert.deepEqual(house.acr.tokens.refreshed(tokenOf(credential)), [
        'pull',
        'metadata_read',
        '*',
        'push',
        'metadata_write',
      ]);
      const life = (credential?.expiresAt ?? 0) - before;
      assert.ok(Math.abs(life - 3 * 3600_000) < 120_000, `${life} ms`);
      const tenant = kind === 'managed' ? null : house.entra.tenant;
      assert.deepEqual(house.acr.exchanges, [{ tenant, status: 200 }]);
    });

    it(`sees the token of ${kind} alone, and a credential is asked for anew each time`, async (t) => {
      const { house, source, known } = await openAcrSource(t, kind);
      const [first, second] = [await source.credentialFor(known, o), await source.credentialFor(known, o)];
      assert.notEqual(tokenOf(first), tokenOf(second));
      assert.equal(house.entra.given.length, 2);
      for (const token of house.entra.given)
        assert.deepEqual(hostsThatSaw(house.world, token), [house.acr.host]);
      const hosts = kind === 'managed' ? [] : ['login.microsoftonline.com'];
      assert.deepEqual(whoSaw(house, house.secret), kind === 'secret' ? hosts : []);
      assert.deepEqual(
        new Set(house.world.requests.map(({ host }) => host)),
        new Set([...hosts, house.acr.host]),
      );
      assert.deepEqual(house.world.unknownNames, []);
    });
  }

  it('has one credential for all its repositories, and none for another registry', async (t) => {
    const { source } = await openAcrSource(t, 'secret');
    const one = source.keyFor?.(target('contoso.azurecr.io'));
    const { name: _, ...whole } = target('contoso.azurecr.io');
    assert.equal(source.keyFor?.({ ...target('contoso.azurecr.io'), name: parseRepositoryName('b') }), one);
    assert.equal(source.keyFor?.(whole), one);
    assert.notEqual(source.keyFor?.(target('fabrikam.azurecr.io')), one);
  });

  for (const host of [
    'contoso.azurecr.cn',
    'contoso.azurecr.us',
    'contoso-d7e8f9.azurecr.io',
    'contoso.westeurope.geo.azurecr.io',
  ]) {
    it(`may be ${host}`, async (t) => {
      const { source } = await openAcrSource(t, 'secret', { host });
      tokenOf(await source.credentialFor(target(host), o));
    });
  }

  it('may have a name of its own where the configuration says so', async (t) => {
    const host = 'registry.contoso.com';
    const { house, source } = await openAcrSource(t, 'secret', { host, settings: { registryHosts: [host] } });
    tokenOf(await source.credentialFor(target(host), o));
    const other = await reasonOf(source, 'docker.contoso.com', house);
    assert.match(other, /docker\.contoso\.com is not named as registries of Azure are/);
  });

  for (const host of [
    'registry.contoso.com',
    'evil-azurecr.io',
    'azurecr.io',
    'contoso.azurecr.io.evil.com',
    'contoso.azurecr.io:8443',
    'a.b.azurecr.io',
    'contoso.westeurope.data.azurecr.io',
    'contosoxazurecr.io',
    'contoso.azurecr.com',
  ]) {
    it(`is not ${host}: nobody is asked for a token`, async (t) => {
      const { house, machine, source } = await openAcrSource(t, 'managed');
      assert.match(
        await reasonOf(source, host, house),
        /no token is sent there\. If it is one, name it in registryHosts/,
      );
      assert.deepEqual([machine.requests, house.world.requests, house.entra.given], [[], [], []]);
    });
  }
});
