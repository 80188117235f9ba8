// @ts-check
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  describeVerifierConformance,
  FakeClock,
  FakeLog,
  FakeMetrics,
  passwordCredentials,
} from 'docker-registry-proxy/testing';
import { driver } from 'docker-registry-proxy-example-api-keys';

const key = `key_${'a'.repeat(43)}`;
const wrong = `key_${'b'.repeat(43)}`;
const sha256 = createHash('sha256').update(key).digest('hex');
const o = { signal: new AbortController().signal };

/**
 * @param {import('node:test').TestContext} t
 * @param {object} keys
 */
async function open(t, keys) {
  const baseDirectory = mkdtempSync(join(tmpdir(), 'api-keys-'));
  t.after(() => rmSync(baseDirectory, { recursive: true }));
  const write = (/** @type {object} */ content) =>
    writeFileSync(join(baseDirectory, 'keys.json'), JSON.stringify(content));
  write(keys);
  const log = new FakeLog();
  const clock = new FakeClock(Date.parse('2027-01-01T00:00:00Z'));
  const state = /** @type {any} */ (undefined); // this verifier keeps none
  const given = { id: 'keys', baseDirectory, clock, log, metrics: new FakeMetrics(), state };
  const verifier = await driver.open(driver.config.parse({ file: 'keys.json' }), given);
  return { verifier, write, clock, log };
}

// What every verifier promises, as the proxy's own are tested.
describeVerifierConformance(
  'api-keys',
  async (t) => {
    const { verifier } = await open(t, { ci: { sha256, groups: ['builders'], attributes: { team: 'tea' } } });
    const principal = /** @type {const} */ ({
      ...{ name: 'ci', kind: 'machine', groups: ['builders'], attributes: { team: 'tea' } },
    });
    return {
      verifier,
      id: 'keys',
      valid: [{ credentials: passwordCredentials('ci', key), principal }],
      invalid: [passwordCredentials('ci', wrong), passwordCredentials('bob', key)],
      foreign: [passwordCredentials('ci', 'a password')],
    };
  },
  [
    'where it cannot verify now it is UNAVAILABLE, never undefined', // it depends on nothing that can be down
    'recheck finds a principal it vouched for, and not one that is gone', // machines get no refresh tokens
    'recheck is UNAVAILABLE where it cannot find out',
  ],
);

test('a key ends when it expires', async (t) => {
  const { verifier, clock } = await open(t, { ci: { sha256, expires: '2027-01-01T01:00:00Z' } });
  const found = await verifier.verify(passwordCredentials('ci', key), o);
  assert.equal(found?.expiresAt, Date.parse('2027-01-01T01:00:00Z'));
  clock.advance(3_600_000);
  await assert.rejects(verifier.verify(passwordCredentials('ci', key), o), { code: 'UNAUTHORIZED' });
});

test('a key that is taken out of the file is refused at once', async (t) => {
  const { verifier, write } = await open(t, { ci: { sha256 } });
  assert.ok(await verifier.verify(passwordCredentials('ci', key), o), 'not accepted');
  write({});
  await assert.rejects(verifier.verify(passwordCredentials('ci', key), o), { code: 'UNAUTHORIZED' });
});

test('a changed file with a fault leaves the last good one in use', async (t) => {
  const { verifier, write, log } = await open(t, { ci: { sha256 } });
  write({ ci: { sha256: 'none' } });
  assert.ok(await verifier.verify(passwordCredentials('ci', key), o), 'not accepted');
  assert.match(log.text, /expected the SHA-256 of a key in hex/);
});

test('a file with a fault at the start is told', async (t) => {
  await assert.rejects(open(t, { ci: { sha256: 'none' } }), (error) => {
    assert.match(String(/** @type {Error} */ (error).cause), /expected the SHA-256 of a key in hex/);
    return true;
  });
});
