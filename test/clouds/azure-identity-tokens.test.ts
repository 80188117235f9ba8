import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { bearerCredentials } from '../../src/testing/index.js';
import {
  type AzureIdentityHouse,
  appId,
  o,
  openAzureIdentityHouse,
  openAzureVerifier,
  outcome,
  resourceOf,
  shown,
} from './harness/azure-identity-house.js';

const hour = 3600;
const other = randomUUID();

let house: AzureIdentityHouse;
const closers: (() => Promise<void> | void)[] = [];
before(async () => {
  house = await openAzureIdentityHouse({ after: (close) => void closers.unshift(close) });
});
after(async () => {
  for (const close of closers) await close();
});

const token = (more?: Readonly<Record<string, unknown>>) => house.entra.issue(house.identity, appId, more);
const v2 = () => ({ iss: `https://login.microsoftonline.com/${house.entra.tenant}/v2.0`, ver: '2.0' });
const now = () => Math.floor(Date.now() / 1000);
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const decoded = (text: string, at: 0 | 1) =>
  JSON.parse(Buffer.from(text.split('.')[at] ?? '', 'base64url').toString()) as Record<string, unknown>;

describe('a managed identity', () => {
  test('is named by tenant and object, and its login ends with its token', async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    const proof = token();
    const { tenant } = house.entra;
    const { objectId, clientId } = house.identity;
    const { subscriptionId } = house.machine;
    const vm = resourceOf(subscriptionId, 'Microsoft.Compute/virtualMachines/builder-1').toLowerCase();
    assert.deepEqual(await outcome(verifier, shown(proof)), {
      verifier: 'azure',
      name: `${tenant}/${objectId}`,
      kind: 'machine',
      groups: [],
      attributes: {
        ...{ tenantId: tenant, objectId, appId: clientId, identity: vm, vm },
        ...{ subscriptionId, resourceGroup: 'builders' },
      },
      expiresAt: Number(decoded(proof, 1).exp) * 1000,
    });
  });

  test('that is user-assigned is told apart from its machine', async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    const { subscriptionId } = house.machine;
    const identity = resourceOf(subscriptionId, 'Microsoft.ManagedIdentity/userAssignedIdentities/ci');
    const vm = resourceOf(subscriptionId, 'Microsoft.Compute/virtualMachineScaleSets/nodes');
    const found = await outcome(verifier, shown(token({ xms_mirid: identity, xms_az_rid: vm })));
    assert.ok(typeof found !== 'string', String(found));
    assert.equal(found.attributes.identity, identity.toLowerCase());
    assert.equal(found.attributes.vm, vm.toLowerCase());
  });

  const accepted: Readonly<
    Record<string, readonly [more: () => Readonly<Record<string, unknown>>, settings?: () => object]>
  > = {
    'by version 2.0, with its client ID as the audience': [
      () => ({ ...v2(), aud: house.identity.clientId, appid: undefined, azp: house.identity.clientId }),
      () => ({ audiences: [house.identity.clientId] }),
    ],
    'of an app': [() => ({ xms_mirid: resourceOf(house.machine.subscriptionId, 'Microsoft.Web/sites/app') })],
    'that says it is one': [() => ({ idtyp: 'app' })],
    'of any subscription, where none are configured': [
      () => ({ xms_mirid: resourceOf(other, 'Microsoft.Web/sites/app') }),
      () => ({ subscriptions: undefined }),
    ],
  };
  for (const [what, [more, settings]] of Object.entries(accepted)) {
    test(`${what} is let in`, async (t) => {
      const { verifier } = await openAzureVerifier(t, house, settings?.());
      const found = await outcome(verifier, shown(token(more())));
      assert.ok(typeof found !== 'string', String(found));
    });
  }

  test('needs its tenant’s keys once, and none before the first token', async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    const asked = () => house.world.requests.length;
    const before = asked();
    await Promise.all(Array.from({ length: 5 }, () => outcome(verifier, shown(token()))));
    const hosts = house.world.requests.slice(before).map(({ host }) => host);
    assert.deepEqual(hosts, ['sts.windows.net', 'login.windows.net']);
  });

  test('cannot be judged where there are no keys', async (t) => {
    const own = await openAzureIdentityHouse(t);
    own.world.remove('sts.windows.net');
    const { verifier } = await openAzureVerifier(t, own);
    const proof = own.entra.issue(own.identity, appId);
    assert.match(
      String(await outcome(verifier, shown(proof))),
      /^UNAVAILABLE no answer from sts\.windows\.net/,
    );
  });
});

describe('a token that is refused', () => {
  const mallory = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const signed = (header: object, claims: object, algorithm = 'sha256') => {
    const text = `${part(header)}.${part(claims)}`;
    return `${text}.${sign(algorithm, Buffer.from(text), mallory).toString('base64url')}`;
  };
  const kid = () => decoded(token(), 0).kid;
  const rows: Readonly<
    Record<string, readonly [proof: () => string, reason: RegExp, settings?: () => object]>
  > = {
    'another tenant': [
      () => token({ iss: `https://sts.windows.net/${other}/`, tid: other }),
      /the tenant [0-9a-f-]{36} is not one of `tenants` \(as its token says\)/,
    ],
    'another tenant, by version 2.0': [
      () => token({ iss: `https://login.microsoftonline.com/${other}/v2.0`, tid: other }),
      /is not one of `tenants`/,
    ],
    'another tenant in tid alone': [() => token({ tid: other }), /has no tid of it/],
    'no tid': [() => token({ tid: undefined }), /has no tid of it/],
    'no oid': [() => token({ oid: undefined }), /has no tid of it, or no oid/],
    'an oid that is none': [() => token({ oid: '*' }), /has no tid of it, or no oid/],
    'all tenants at once': [
      () => token({ iss: 'https://login.microsoftonline.com/common/v2.0' }),
      /its token is not by Entra ID/,
    ],
    'an issuer without its slash': [
      () => token({ iss: `https://sts.windows.net/${house.entra.tenant}` }),
      /its token is not by Entra ID/,
    ],
    'an issuer with more before it': [
      () => token({ iss: `https://evil.com/https://sts.windows.net/${house.entra.tenant}/` }),
      /its token is not by Entra ID/,
    ],
    'a host that begins alike': [
      () => token({ iss: `https://sts.windows.net.evil.com/${house.entra.tenant}/` }),
      /its token is not by Entra ID/,
    ],
    'no issuer': [() => token({ iss: undefined }), /its token is not by Entra ID/],
    'a user, by scp': [
      () => token({ scp: 'user_impersonation' }),
      /is of a user, and not of a managed identity/,
    ],
    'a user, by idtyp': [() => token({ idtyp: 'user' }), /is of a user, and not of a managed identity/],
    'an application with a secret': [
      () => token({ xms_mirid: undefined }),
      /is of no managed identity: it has no resource ID \(xms_mirid\)/,
    ],
    'a resource ID that is none': [
      () => token({ xms_mirid: '/subscriptions/x' }),
      /is of no managed identity/,
    ],
    'a list of resource IDs': [
      () => token({ xms_mirid: [house.identity.claims.xms_mirid] }),
      /is of no managed identity/,
    ],
    'a machine that is no resource': [() => token({ xms_az_rid: 'vm' }), /names what is no resource ID/],
    'a subscription that is not allowed': [
      () => token({ xms_mirid: resourceOf(other, 'Microsoft.Compute/virtualMachines/a') }),
      new RegExp(`the subscription ${other} is not one of .subscriptions. \\(the token of `),
    ],
    'an allowed identity on a machine of another subscription': [
      () => token({ xms_az_rid: resourceOf(other, 'Microsoft.Compute/virtualMachines/a') }),
      new RegExp(`the subscription ${other} is not one of .subscriptions. \\(the token of `),
    ],
    'no tenants in the settings': [
      token,
      /a token was shown, and no `tenants` are configured/,
      () => ({ tenants: undefined }),
    ],
    'an end in the past': [() => token({ exp: now() - hour }), /it has expired/],
    'no end': [() => token({ exp: undefined }), /its claim exp is missing or wrong/],
    'a beginning to come': [() => token({ nbf: now() + hour }), /its claim nbf is missing or wrong/],
    'another key': [
      () => signed({ alg: 'RS256', typ: 'JWT', kid: kid() }, decoded(token(), 1)),
      /its signature is wrong/,
    ],
    'a key of its own name': [
      () => signed({ alg: 'RS256', typ: 'JWT', kid: 'mine' }, decoded(token(), 1)),
      /it is by no key of its issuer/,
    ],
    'another algorithm': [
      () => signed({ alg: 'RS512', typ: 'JWT', kid: kid() }, decoded(token(), 1), 'sha512'),
      /its algorithm is not one that is allowed/,
    ],
    'no algorithm': [
      () => token().replace(/^[^.]+/, part({ alg: 'none' })),
      /its algorithm is not one that is allowed/,
    ],
    'a secret in place of a key': [
      () => {
        const text = `${part({ alg: 'HS256', kid: kid() })}.${part(decoded(token(), 1))}`;
        return `${text}.${createHmac('sha256', 'secret').update(text).digest('base64url')}`;
      },
      /its algorithm is not one that is allowed/,
    ],
    'claims that were changed': [
      () => {
        const [head, , signature] = token().split('.');
        return [head, part({ ...decoded(token(), 1), oid: other }), signature].join('.');
      },
      /its signature is wrong/,
    ],
    'two in one': [() => `${token()}.${token()}`, /it is neither an attested document nor a token/],
  };
  for (const [what, [proof, reason, settings]] of Object.entries(rows)) {
    test(`${what}: ${reason.source}`, async (t) => {
      const { verifier, state } = await openAzureVerifier(t, house, settings?.());
      const found = await outcome(verifier, shown(proof()));
      assert.match(String(found), new RegExp(`^UNAUTHORIZED.*${reason.source}`));
      assert.deepEqual(await state.list('', o), [], 'what is refused is bound');
    });
  }

  test('no key is asked for where the tenant is not allowed', async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    const before = [house.world.requests.length, house.world.unknownNames.length];
    await outcome(verifier, shown(token({ iss: `https://sts.windows.net/${other}/`, tid: other })));
    assert.deepEqual([house.world.requests.length, house.world.unknownNames.length], before);
  });

  test('one for somebody else is left to other verifiers, and noted once in a while', async (t) => {
    const { verifier, log } = await openAzureVerifier(t, house);
    for (let i = 0; i < 3; i++)
      assert.equal(await outcome(verifier, shown(token({ aud: 'api://other' }))), 'not mine');
    const lines = log.at('info').filter(({ message }) => /is for other audiences/.test(message));
    assert.deepEqual(
      lines.map(({ fields: { audiences, address } }) => [audiences, address]),
      [[['api://other'], '192.0.2.1']],
    );
  });

  test('as a bearer token, it is left to others where it is of no allowed tenant', async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    for (const more of [{ iss: `https://sts.windows.net/${other}/`, tid: other }, { xms_mirid: undefined }]) {
      assert.equal(await outcome(verifier, bearerCredentials(token(more))), 'not mine');
    }
  });
});
