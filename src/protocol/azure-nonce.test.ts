import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { azureNonce, azureNonces } from './azure-nonce.js';

const minute = 60_000;
const start = Date.UTC(2026, 0, 1, 12, 0, 0);

describe('the nonce of an attested document', () => {
  test('is 32 hex digits: what Azure takes', () => {
    assert.match(azureNonce('docker.example.com', start), /^[0-9a-f]{32}$/);
  });

  test('stays the same, so that other programs can make it', () => {
    assert.equal(azureNonce('docker.example.com', start), 'adf5b3517e3c36ef3d78a543ca82c544');
  });

  for (const [what, audience, time, same] of [
    ['within five minutes', 'docker.example.com', start + 5 * minute - 1, true],
    ['after five minutes', 'docker.example.com', start + 5 * minute, false],
    ['before', 'docker.example.com', start - 1, false],
    ['for another audience', 'docker.example.org', start, false],
    ['for another spelling', 'Docker.example.com', start, false],
    ['for an audience that looks like a time', `${start} docker.example.com`, start, false],
  ] as const) {
    test(`${what} it is ${same ? 'the same' : 'another'}`, () =>
      assert.equal(azureNonce(audience, time) === azureNonce('docker.example.com', start), same));
  }

  for (const [what, from, to, count] of [
    ['one moment', start, start, 1],
    ['a span with both its ends', start, start + 5 * minute, 2],
    ['a quarter of an hour and a minute', start - minute, start + 15 * minute, 5],
  ] as const) {
    test(`of ${what} there are ${count}`, () => {
      const all = azureNonces('docker.example.com', from, to);
      assert.equal(all.length, count);
      assert.equal(new Set(all).size, count);
      for (let time = from; time <= to; time += minute)
        assert.ok(all.includes(azureNonce('docker.example.com', time)), `${time}`);
    });
  }
});
