import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Principal, Verifier } from '../../src/contracts/index.js';
import { describeError } from '../../src/errors.js';
import { HttpCaller } from '../../src/outgoing/http-caller.js';
import { azureNonce } from '../../src/protocol/azure-nonce.js';
import { IssuerCertificates } from '../../src/verifiers/azure-identity/issuer-certificates.js';
import { driver } from '../../src/verifiers/azure-identity.js';
import { publishedAt, urlOf } from './harness/azure-attested.js';
import {
  type AzureIdentityHouse,
  audience,
  documentOf,
  openAzureIdentityHouse,
  openAzureVerifier,
  outcome,
  publisher,
  shown,
} from './harness/azure-identity-house.js';
import { issueCertificate, signMessage } from './harness/azure-pki.js';

// Anybody can make a certificate that names a place at www.microsoft.com, and sign a document with it.

const atOnce = 16;
const places = 1000;

/** A document by a certificate that names this as where its issuer is. */
async function madeUp({ machine, clock }: AzureIdentityHouse, name: string): Promise<Buffer> {
  const signer = await issueCertificate({
    ...{ subject: 'CN=metadata.azure.com', keysOf: 'mallory', dnsNames: ['metadata.azure.com'] },
    ...{ issuer: 'CN=Nobody', aia: [urlOf(name)] },
  });
  return signMessage({ content: machine.content(azureNonce(audience, clock.now())), signer });
}

/** Strangers whose requests to Microsoft hang until the test lets one go. */
async function startStrangers(t: TestContext, house: AzureIdentityHouse, verifier: Verifier, count: number) {
  const held = holdMadeUp(t, house);
  const names = Array.from({ length: count }, (_, i) => `made-up-${i}`);
  const documents = await Promise.all(names.map((name) => madeUp(house, name)));
  // All of one network, by many addresses.
  const ended: string[] = [];
  const logins = documents.map(async (document, i) => {
    const { signal } = new AbortController();
    const login = verifier.verify(shown(document, `198.51.100.${i}`), { signal });
    ended.push(await login.then(() => 'in', describeError));
  });
  await until(() => held.length === atOnce, `${atOnce} are asked for`);
  return { held, ended, all: Promise.all(logins) };
}

/** @returns what lets one go: all answers are 404 */
function holdMadeUp(t: TestContext, { world }: AzureIdentityHouse): (() => void)[] {
  const held: (() => void)[] = [];
  const end = world.intercept(async ({ url, text }) => {
    if (!url.pathname.includes('made-up')) return false;
    await new Promise<void>((resolve) => held.push(resolve));
    text(404, 'not found');
    return true;
  });
  t.after(end);
  return held;
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 20_000;
  while (!holds()) {
    assert.ok(Date.now() < end, `it does not come to it that ${what}`);
    await setImmediate();
  }
}

async function assertIn(verifier: Verifier, document: Buffer): Promise<void> {
  const found = await outcome(verifier, shown(document));
  assert.ok(typeof found !== 'string', String(found));
}

describe('strangers with places of their own', () => {
  for (const [what, published] of [
    ['where an authority is', ({ authorities }: AzureIdentityHouse) => authorities.issuing.der],
    ['where nothing is', () => undefined],
  ] as const) {
    test(`${what}, do not push out what machines need`, async (t) => {
      const house = await openAzureIdentityHouse(t);
      const { verifier } = await openAzureVerifier(t, house, { timeout: '1m' });
      await assertIn(verifier, documentOf(house));
      for (let i = 0; i < 70; i++) {
        const there = published(house);
        if (there !== undefined) house.authorities.published.set(publishedAt(`x${i}`), there);
        const found = await outcome(verifier, shown(await madeUp(house, `x${i}`)));
        assert.match(String(found), there ? /^UNAUTHORIZED.*it is not by/ : /^UNAVAILABLE.*answered 404/);
      }
      const asked = house.world.requestsTo(publisher).length;
      assert.equal(asked, 72);
      house.world.remove(publisher);
      await assertIn(verifier, documentOf(house));
      assert.equal(house.world.requestsTo(publisher).length, asked);
    });
  }
});

describe('strangers for whom Microsoft does not answer', () => {
  test('are asked for so many at once, and no more', async (t) => {
    const house = await openAzureIdentityHouse(t);
    const { verifier } = await openAzureVerifier(t, house, { timeout: '1m' });
    const { held, ended, all } = await startStrangers(t, house, verifier, 40);
    for (let round = 0; ended.length < 40; round++) {
      assert.ok(held.length <= atOnce, `${held.length} at once`);
      if (round % 20 === 19) held.shift()?.();
      await setImmediate();
    }
    await all;
    for (const found of ended) assert.match(found, /UNAVAILABLE.*answered 404/);
    assert.equal(house.world.requestsTo(publisher).length, 40);
  });

  test('keep nobody waiting whose authorities are known', async (t) => {
    const house = await openAzureIdentityHouse(t);
    const { verifier } = await openAzureVerifier(t, house, { timeout: '1m' });
    await assertIn(verifier, documentOf(house));
    const { held, ended } = await startStrangers(t, house, verifier, 100);
    await assertIn(verifier, documentOf(house));
    assert.deepEqual([held.length, ended], [atOnce, []]);
  });

  test('keep others waiting for a turn, and not for all of theirs', async (t) => {
    const house = await openAzureIdentityHouse(t);
    const { verifier } = await openAzureVerifier(t, house, { timeout: '1m' });
    const { held } = await startStrangers(t, house, verifier, 100);
    let found: Principal | string | undefined;
    void outcome(verifier, shown(documentOf(house))).then((one) => {
      found = one;
    });
    let turns = 0;
    while (found === undefined && turns < 10) {
      const before = house.world.requestsTo(publisher).length;
      turns++;
      held.shift()?.();
      await until(
        () => found !== undefined || house.world.requestsTo(publisher).length > before,
        'the turn goes to somebody',
      );
      await until(() => found !== undefined || held.length === atOnce, 'all turns are taken');
    }
    assert.ok(typeof found === 'object', `${found} after ${turns} turns of strangers`);
    // One for each of the two authorities.
    assert.ok(turns <= 3, `${turns} turns of strangers ended before`);
  });

  test('have places to wait in, and who comes then is told to come later', async (t) => {
    const house = await openAzureIdentityHouse(t);
    const held = holdMadeUp(t, house);
    const settings = driver.config.parse({ ...house.settings, timeout: '1m' });
    const caller = await HttpCaller.open(settings, house.directory);
    const certificates = new IssuerCertificates(caller, house.clock);
    const ask = (i: number) => {
      const { signal } = new AbortController();
      return certificates.at(new URL(publishedAt(`made-up-${i}`), 'https://www.microsoft.com'), {
        signal,
        network: '198.51.100.0/24',
      });
    };
    const ended: string[] = [];
    const all = Array.from({ length: atOnce + places + 4 }, async (_, i) => {
      await ask(i).catch((error: unknown) => ended.push(describeError(error)));
    });
    await until(
      () => held.length === atOnce && ended.length > 0,
      `${atOnce} are asked for, and some refused`,
    );
    assert.equal(ended.length, 4);
    for (const found of ended) assert.match(found, /UNAVAILABLE.*too many certificates wait/);
    certificates.close();
    await caller.close();
    await Promise.all(all);
    const late = ended.filter((found) => found.includes('too many'));
    assert.equal(late.length, 4, 'who had a place lost it');
  });
});
