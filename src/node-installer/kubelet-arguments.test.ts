import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { readEnvironmentFile } from './environment-text.js';
import { argumentsFile } from './kubelet-arguments.js';
import { mergeProviders, ProvidersError } from './merged-providers.js';
import { splitWords } from './unit-words.js';

const flag = '--image-service-endpoint=unix:///run/x.sock';

describe('the environment file of one start', () => {
  const cases: readonly (readonly [what: string, present: string | undefined, words: readonly string[]])[] = [
    ['nothing there', undefined, [flag]],
    ['an empty value', ' ', [flag]],
    ['flags there', '--a --b=c', ['--a', '--b=c', flag]],
    [
      'quotes, dollars and backslashes there',
      `--a="b c" --d='$E' --f=\\\\x`,
      ['--a=b c', '--d=$E', '--f=\\x', flag],
    ],
  ];
  for (const [what, present, words] of cases) {
    test(what, () => {
      const text = argumentsFile({ variable: 'V', present, flags: [flag] });
      assert.deepEqual(splitWords(readEnvironmentFile(text).get('V') ?? ''), words);
    });
  }

  test('is empty where there is nothing to add, or it would end up in another flag', () => {
    assert.equal(argumentsFile({ variable: 'V', present: '--a', flags: [] }), '');
    assert.equal(argumentsFile({ variable: 'V', present: '--a="b', flags: [flag] }), '');
    assert.equal(argumentsFile({ variable: 'V', present: '--a \\', flags: [flag] }), '');
  });
});

const own = `# notes
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: kubelet-image-service
    matchImages: ["*.internal"]
    defaultCacheDuration: 0s
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args: [credential-provider]
`;

const theirs = (...names: readonly string[]) =>
  JSON.stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'CredentialProviderConfig',
    providers: names.map((name) => ({
      name,
      matchImages: ['*.ecr'],
      defaultCacheDuration: '12h0m0s',
      env: [{ name: 'A', value: '1' }],
    })),
  });

describe('the providers of one start', () => {
  test("the node's own come first, as they are", () => {
    const merged = mergeProviders([{ path: '/a', text: theirs('ecr', 'other') }], own);
    assert.deepEqual(merged.names, ['ecr', 'other', 'kubelet-image-service']);
    assert.deepEqual(merged.ownNames, ['kubelet-image-service']);
    const { providers, ...head } = parse(merged.text) as { readonly providers: readonly object[] };
    assert.deepEqual(head, { apiVersion: 'kubelet.config.k8s.io/v1', kind: 'CredentialProviderConfig' });
    assert.deepEqual(providers.slice(0, 2), JSON.parse(theirs('ecr', 'other')).providers);
  });

  test('several files, YAML too; ours of an earlier start is not there twice', () => {
    const files = [
      { path: '/a', text: own.replace('*.internal', 'old') },
      { path: '/b', text: theirs('ecr') },
    ];
    const merged = mergeProviders(files, own);
    assert.deepEqual(merged.names, ['ecr', 'kubelet-image-service']);
    assert.ok(!merged.text.includes('old'), merged.text);
    assert.deepEqual(mergeProviders([], own).names, ['kubelet-image-service']);
  });

  test("a value is what kubelet's parser takes it for, before and after", () => {
    const text = own.replace(
      'args: [credential-provider]',
      'args: ["on"]\n    tokenAttributes: { requireServiceAccount: yes }',
    );
    const merged = mergeProviders(
      [{ path: '/a', text: text.replace('name: kubelet-image-service', 'name: a') }],
      own,
    );
    assert.match(merged.text, /"on"/);
    assert.match(merged.text, /"requireServiceAccount": true/);
  });

  const broken: readonly (readonly [what: string, text: string, message: RegExp])[] = [
    ['no YAML', 'providers: [s3cret', /^\/a: expected one document/],
    ['two documents', `${own}---\n${own}`, /^\/a: expected one document/],
    [
      'another kind',
      own.replace('CredentialProviderConfig', 'Secret'),
      /^\/a: expected one CredentialProviderConfig/,
    ],
    ['another group', own.replace('k8s.io/v1', 'k8s.io/v9'), /^\/a: expected one CredentialProviderConfig/],
    [
      'no providers',
      'apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\n',
      /^\/a: expected/,
    ],
    ['a name that leaves its directory', theirs('../s3cret'), /^\/a: expected a name/],
    ['one name twice', theirs('ecr', 'ecr'), /^two credential providers are named ecr$/],
    ['nothing', '', /^\/a: expected one/],
  ];
  for (const [what, text, message] of broken) {
    test(`refused: ${what}`, () => {
      assert.throws(
        () => mergeProviders([{ path: '/a', text }], own),
        (error) =>
          error instanceof ProvidersError && message.test(error.message) && !error.message.includes('s3cret'),
      );
    });
  }
});
