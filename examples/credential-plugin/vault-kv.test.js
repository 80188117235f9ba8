// @ts-check
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import {
  describeCredentialSourceConformance,
  FakeClock,
  FakeLog,
  FakeMetrics,
  revealCredential,
} from 'docker-registry-proxy/testing';
import { driver } from 'docker-registry-proxy-example-vault';

const path = 'secret/data/registries/hub';
const vaultToken = 'hvs.of-the-proxy';
process.env.EXAMPLE_VAULT_TOKEN = vaultToken;
process.env.EXAMPLE_WRONG_TOKEN = 'hvs.of-somebody-else';
const o = { signal: new AbortController().signal };
const target = /** @type {any} */ ({ registry: 'docker.io', name: 'acme/app' });

/**
 * A Vault with one secret.
 *
 * @param {import('node:test').TestContext} t
 */
async function startVault(t) {
  /** @type {{ secret: unknown, status: number }} */
  const vault = { secret: { username: 'acme', password: 'first' }, status: 200 };
  const server = createServer((request, response) => {
    const known = request.url === `/v1/${path}`;
    const allowed = request.headers['x-vault-token'] === vaultToken;
    const status = !allowed ? 403 : !known ? 404 : vault.status;
    response.writeHead(status, { 'content-type': 'application/json', location: '/v1/elsewhere' });
    response.end(JSON.stringify(status === 200 ? { data: { data: vault.secret } } : { errors: [] }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = () => void server.close().closeAllConnections();
  t.after(stop);
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return Object.assign(vault, { address: `http://127.0.0.1:${port}`, stop });
}

/**
 * @param {string} address
 * @param {object} settings
 */
async function open(address, settings = {}) {
  const clock = new FakeClock(Date.parse('2027-01-01T00:00:00Z'));
  const given = { id: 'hub', baseDirectory: '/', clock, log: new FakeLog(), metrics: new FakeMetrics() };
  const config = driver.config.parse({ address, path, token: { env: 'EXAMPLE_VAULT_TOKEN' }, ...settings });
  return { source: await driver.open(config, given), clock };
}

// What every credential source promises, as the proxy's own are tested.
describeCredentialSourceConformance(
  'vault-kv',
  async (t) => {
    const vault = await startVault(t);
    const { source, clock } = await open(vault.address);
    return {
      ...{ source, known: target, expected: 'acme:first', now: () => clock.now(), break: vault.stop },
      rotate: () => {
        vault.secret = { username: 'acme', password: 'second' };
      },
    };
  },
  ['it has none for a repository it does not know'], // one for all
);

test('it is asked for again when its time has come', async (t) => {
  const vault = await startVault(t);
  const { source, clock } = await open(vault.address, { refresh: '2m' });
  const credential = await source.credentialFor(target, o);
  assert.equal(credential?.refreshAt, clock.now() + 120_000);
  assert.equal(credential?.expiresAt, undefined);
  assert.equal(source.keyFor?.(target), source.keyFor?.({ registry: target.registry }));
});

for (const [what, change, reason] of [
  [
    'Vault does not let us in',
    { token: { env: 'EXAMPLE_WRONG_TOKEN' } },
    /Vault answers 403 to \/v1\/secret/,
  ],
  [
    'there is no such secret',
    { path: 'secret/data/other' },
    /Vault answers 404 to \/v1\/secret\/data\/other/,
  ],
  ['the secret is something else', { secret: { value: 'first' } }, /no username and password at/],
  ['Vault is sealed', { status: 503 }, /Vault answers 503/],
  ['Vault sends us elsewhere', { status: 307 }, /Vault does not answer at 127\.0\.0\.1/],
]) {
  test(`${what}: UNAVAILABLE, and the reason holds no secret`, async (t) => {
    const vault = await startVault(t);
    const { secret = vault.secret, status = 200, ...settings } = /** @type {any} */ (change);
    Object.assign(vault, { secret, status });
    const { source } = await open(vault.address, settings);
    await assert.rejects(source.credentialFor(target, o), (/** @type {any} */ error) => {
      assert.equal(error.code, 'UNAVAILABLE');
      assert.match(error.reason, /** @type {RegExp} */ (reason));
      assert.doesNotMatch(JSON.stringify([error.reason, String(error.cause)]), /hvs|first/);
      return true;
    });
  });
}

test('what it gives is what Vault has', async (t) => {
  const vault = await startVault(t);
  const { source } = await open(vault.address);
  vault.secret = { username: 'acme', password: 'third' };
  const credential = await source.credentialFor(target, o);
  assert.equal(credential && revealCredential(credential), 'acme:third');
});
