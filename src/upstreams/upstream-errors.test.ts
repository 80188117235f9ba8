import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { operations } from './opened-upstream.test.js';
import { answerError } from './upstream-errors.js';

const operation = operations.manifest('team/app', 'v1');
const hidden = { host: 'reg.example.com', userNames: ['Robot', ''] };

function said(status: number, message: string, method: 'GET' | 'PUT' = 'PUT') {
  const body = Readable.from([Buffer.from(JSON.stringify({ errors: [{ code: 'DENIED', message }] }))]);
  return answerError({ status, headers: new Map(), body }, { method, operation }, hidden, 0);
}

describe("an upstream's own words", () => {
  for (const status of [401, 403, 404, 429, 500]) {
    test(`stay here with a ${status}`, async () => {
      const error = await said(status, 'account 4711 may not');
      assert.doesNotMatch(`${error.message} ${JSON.stringify(error.detail)}`, /4711/);
    });
  }

  test('go on with another 4xx, without our names', async () => {
    assert.equal((await said(412, 'the tag is immutable')).message, 'the tag is immutable');
    for (const message of ['not for rOBOT', 'ask https://x', 'at REG.example.com']) {
      assert.equal((await said(412, message)).message, 'requested access to the resource is denied');
    }
  });

  test('a 429 keeps what is left of the limit, and nobody learns whose limit it is', async () => {
    const limits = async (headers: Readonly<Record<string, string>>) => {
      const answer = { status: 429, headers: new Map(Object.entries(headers)), body: Readable.from([]) };
      return (await answerError(answer, { method: 'GET', operation }, hidden, 0)).rateLimit;
    };
    const left = { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '0;w=21600' };
    assert.deepEqual(
      await limits({ ...left, 'docker-ratelimit-source': '192.0.2.1' }),
      new Map(Object.entries(left)),
    );
    assert.equal(await limits({ 'ratelimit-limit': 'x'.repeat(101), 'ratelimit-remaining': 'é' }), undefined);
    assert.equal(await limits({}), undefined);
  });

  test('a 400 without a registry error to what is written stays a 400', async () => {
    const body = Readable.from([Buffer.from('<html>')]);
    const request = { method: 'PUT', operation } as const;
    const error = await answerError({ status: 400, headers: new Map(), body }, request, hidden, 0);
    assert.equal(error.status, 400);
  });
});
