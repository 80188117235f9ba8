import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { revealCredential } from '../../testing/conformance/credential-source.js';
import { parseKubeletAnswer } from './kubelet-answer.js';

const apiVersion = 'credentialprovider.kubelet.k8s.io/v1';
const auth = { 'gcr.io': { username: 'u', password: 'hunter2' } };
const good = { apiVersion, kind: 'CredentialProviderResponse', cacheKeyType: 'Registry', auth };
const parse = (changes: object) => parseKubeletAnswer(JSON.stringify({ ...good, ...changes }));

describe('the answer of a kubelet provider', () => {
  for (const [text, milliseconds] of [
    ['12h0m0s', 43_200_000],
    ['6h', 21_600_000],
    ['1h30m', 5_400_000],
    ['1.5h', 5_400_000],
    ['.5s', 500],
    ['90s500ms', 90_500],
    ['1µs', 0.001],
    ['1μs2ns', 0.001002],
    ['+1m', 60_000],
    ['-1m', -60_000],
    ['0s', 0],
    ['0', 0],
    [null, undefined],
    [undefined, undefined],
  ] as const) {
    test(`may be kept for ${text}`, () => {
      const found = parse({ cacheDuration: text })?.cacheDuration;
      if (milliseconds === undefined) assert.equal(found, undefined);
      else assert.ok(Math.abs((found ?? Number.NaN) - milliseconds) < 1e-9, `it is ${found}`);
    });
  }

  test('has credentials by pattern; empty ones are none', () => {
    const answer = parse({
      auth: { 'a.io': { username: '', password: 'x' }, 'b.io': { username: 'y' }, 'c.io': {}, ...auth },
      added: 'in a later version',
    });
    const found = [...(answer?.auth ?? [])].map(([key, one]) => [key, one && revealCredential(one)]);
    assert.deepEqual(found, [
      ['a.io', ':x'],
      ['b.io', 'y:'],
      ['c.io', undefined],
      ['gcr.io', 'u:hunter2'],
    ]);
    assert.equal(answer?.cacheKeyType, 'Registry');
  });

  for (const none of [{}, null, undefined]) {
    test(`has none where auth is ${JSON.stringify(none)}, whatever cacheKeyType says`, () => {
      assert.equal(parse({ auth: none, cacheKeyType: '' }), undefined);
    });
  }

  for (const [text, message] of [
    ['', /no CredentialProviderResponse$/],
    ['hunter2', /no CredentialProviderResponse$/],
    ['["hunter2"]', /no CredentialProviderResponse$/],
    [JSON.stringify({ ...good, kind: 'Secret' }), /no CredentialProviderResponse$/],
    [JSON.stringify({ ...good, apiVersion: `${apiVersion}beta1` }), /not answer in the version .*\/v1$/],
    [
      JSON.stringify({ ...good, cacheKeyType: 'hunter2' }),
      /cacheKeyType is none of Image, Registry, Global$/,
    ],
    [JSON.stringify({ ...good, cacheDuration: 'hunter2' }), /whose cacheDuration is not as kubelet/],
    [JSON.stringify({ ...good, cacheDuration: 3600 }), /whose cacheDuration is not as kubelet/],
    [JSON.stringify({ ...good, cacheDuration: '1d' }), /whose cacheDuration is not as kubelet/],
    [JSON.stringify({ ...good, cacheDuration: '' }), /whose cacheDuration is not as kubelet/],
    [JSON.stringify({ ...good, auth: { hunter2: 'x' } }), /whose auth is not as kubelet/],
    [JSON.stringify({ ...good, auth: { a: { username: 1, password: 'hunter2' } } }), /whose auth is not/],
  ] as const) {
    test(`is refused, and not quoted: ${text.slice(-70)}`, () => {
      assert.throws(
        () => parseKubeletAnswer(text),
        (error: Error) => {
          assert.match(error.message, message);
          assert.ok(!error.message.includes('hunter2'), error.message);
          return true;
        },
      );
    });
  }
});
