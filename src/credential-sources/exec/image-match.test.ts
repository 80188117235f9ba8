import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { matchingKeys } from './image-match.js';

describe('the keys of a kubelet provider that are for an image', () => {
  const cases: readonly (readonly [image: string, keys: readonly string[], matching: readonly string[]])[] = [
    // The host, label by label.
    ['gcr.io/a', ['gcr.io', 'gcr.io.evil.com', 'evil-gcr.io', 'io', 'eu.gcr.io'], ['gcr.io']],
    ['eu.gcr.io/a', ['*.gcr.io', '*', '*.io', '*.*.io', 'gcr.io'], ['*.gcr.io', '*.*.io']],
    ['k8s.example.io/a', ['k8s.*.io', 'k8s.*', 'k8s.example.*'], ['k8s.example.*', 'k8s.*.io']],
    ['k8s.io/a', ['k8s.*', '*.k8s.io'], ['k8s.*']],
    [
      'app1.k8s.io/a',
      ['app*.k8s.io', 'app.k8s.io', '*1.k8s.io', 'a*p*1.k8s.io'],
      [...['app*.k8s.io', 'a*p*1.k8s.io', '*1.k8s.io']],
    ],
    ['ab.io/a', ['ab*b.io', 'a*b*.io', '**.io', 'a*a*.io'], ['a*b*.io', '**.io']],
    ['gcr.io/a', ['GCR.io', 'gcrxio', 'gcr.io.', ''], []],
    // The port.
    [
      'registry.io:8080/a',
      ['registry.io:8080', 'registry.io', 'registry.io:80', 'registry.io:*'],
      ['registry.io:8080'],
    ],
    ['registry.io/a', ['registry.io:443', 'registry.io:'], ['registry.io:']],
    ['[::1]:5000/a', ['[::1]:5000', '[::1]:5001', '[::1]', '*:5000'], ['[::1]:5000', '*:5000']],
    ['[::1]/a', ['[::1]', '[::1]:1'], ['[::1]']],
    // The path: a prefix of characters, not of components; no globs.
    [
      'r.io/team/app',
      ['r.io/team', 'r.io', 'r.io/team/app', 'r.io/te', 'r.io/team/app/x', 'r.io/*'],
      [...['r.io/team/app', 'r.io/team', 'r.io/te', 'r.io']],
    ],
    ['r.io/team', ['r.io/'], ['r.io/']],
    // What docker writes into its keys.
    [
      'quay.io/a',
      ['https://quay.io', 'http://quay.io/v1/', 'https://quay.io/v2/'],
      [...['https://quay.io', 'http://quay.io/v1/', 'https://quay.io/v2/']],
    ],
    [
      'quay.io/team/a',
      ['https://quay.io/v2/team', 'quay.io/v1/other', 'https://quay.io/v2'],
      ['https://quay.io/v2/team'],
    ],
    ['quay.io/a', ['quay.io?x=1', 'quay.io/a#b'], ['quay.io/a#b', 'quay.io?x=1']],
    // Docker Hub has a second name.
    ['docker.io/library/a', ['https://index.docker.io/v1/', 'gcr.io'], ['https://index.docker.io/v1/']],
    ['docker.io/library/a', ['index.docker.io', 'docker.io'], ['docker.io']],
    ['docker.io/library/a', ['*.docker.io'], []],
    ['evil-docker.io/library/a', ['index.docker.io'], []],
  ];
  for (const [image, keys, matching] of cases) {
    test(`${image} of ${keys.join(' ')}`, () => assert.deepEqual(matchingKeys(keys, image), matching));
  }

  test('a pattern with many stars ends at once', { timeout: 10_000 }, () => {
    const key = `${'a*'.repeat(20_000)}b.io`;
    assert.deepEqual(matchingKeys([key], `${'a'.repeat(60_000)}.io/x`), []);
  });
});
