import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseImagePattern } from '../settings/image-pattern.js';
import { NamePattern } from '../settings/name-pattern.js';
import { FakeCredentialSource } from '../testing/fake-credential-source.js';
import { type CredentialRule, CredentialRules, qualifiedImage } from './credential-rules.js';
import type { PullRequest } from './pull-request.js';

const source = new FakeCredentialSource();

function rule(name: string, pattern: string, more: Partial<CredentialRule> = {}): CredentialRule {
  const match = parseImagePattern(pattern);
  assert.ok(match, `${pattern} is a pattern`);
  return { name, match, credentials: { type: 'static', source }, ...more };
}

const patterns = (...texts: string[]) => texts.map((text) => new NamePattern(text));

const rules = new CredentialRules([
  rule('secret team', 'docker.example.com/secret/**', { namespaces: patterns('ops', 'team-*') }),
  rule('marked', 'docker.example.com/marked/**', {
    annotations: new Map([
      ['team', new NamePattern('a*')],
      ['stage', new NamePattern('*')],
    ]),
  }),
  { name: 'nobody', match: rule('', 'docker.example.com/public/**').match },
  rule('all', 'docker.example.com/**'),
  rule('also all', 'docker.example.com/**'),
  rule('hub', 'docker.io/**'),
  rule('local', 'localhost/**'),
  rule('port', '127.0.0.1:5000/**'),
]);

function asked(image: string, namespace?: string, annotations: Record<string, string> = {}): PullRequest {
  return {
    image,
    ...(namespace !== undefined && { pod: { namespace, name: 'p', uid: 'u' } }),
    annotations: new Map(Object.entries(annotations)),
    hasOwnCredential: false,
  };
}

describe('the rule for an image', () => {
  const digest = `sha256:${'0'.repeat(64)}`;
  const cases: readonly (readonly [what: string, request: PullRequest, rule: string | undefined])[] = [
    ['the first that matches counts', asked('docker.example.com/app:1.2'), 'all'],
    ['tag and digest do not count', asked(`docker.example.com/app:1.2@${digest}`), 'all'],
    ['without credentials it ends the search', asked('docker.example.com/public/app'), 'nobody'],
    ['a namespace matches', asked('docker.example.com/secret/app', 'ops'), 'secret team'],
    ['a namespace matches by its pattern', asked('docker.example.com/secret/app', 'team-a'), 'secret team'],
    ['another namespace goes on', asked('docker.example.com/secret/app', 'opsy'), 'all'],
    ['no pod is no namespace', asked('docker.example.com/secret/app'), 'all'],
    ['all annotations match', asked('docker.example.com/marked/x', 'n', { team: 'ab', stage: '' }), 'marked'],
    ['one annotation is missing', asked('docker.example.com/marked/x', 'n', { team: 'ab' }), 'all'],
    [
      'one annotation has another value',
      asked('docker.example.com/marked/x', 'n', { team: 'b', stage: 'c' }),
      'all',
    ],
    ['another registry', asked('other.example.com/app'), undefined],
    ['another port is another registry', asked('docker.example.com:5000/app'), undefined],
    ['a registry in the path is none', asked('evil.test/docker.example.com/app'), undefined],
    ['Docker Hub by its name', asked('docker.io/library/busybox'), 'hub'],
    ['Docker Hub by its other name', asked('index.docker.io/team/app'), 'hub'],
    ['a short name could be anywhere', asked('busybox'), undefined],
    ['a short name with a tag', asked('busybox:1.2'), undefined],
    ['a short name with a namespace', asked('library/busybox'), undefined],
    ['localhost is a registry', asked('localhost/app'), 'local'],
    ['a port makes a registry', asked('127.0.0.1:5000/app'), 'port'],
    ['no reference at all', asked('docker.example.com/UPPER'), undefined],
    ['nothing', asked(''), undefined],
    ['an id', asked(digest), undefined],
  ];
  for (const [what, request, expected] of cases) {
    test(what, () => assert.equal(rules.find(request)?.rule.name, expected));
  }

  test('comes with the image it is for', () => {
    const image = rules.find(asked('docker.example.com/team/app:1'))?.image;
    assert.equal(image?.repository.name, 'team/app');
  });

  test('kubelet having its own does not change it', () => {
    const request = { ...asked('docker.example.com/app'), hasOwnCredential: true };
    assert.equal(rules.find(request)?.rule.name, 'all');
  });

  test('a host of upper-case letters alone is none for CRI-O, and gets nothing', () => {
    assert.equal(qualifiedImage('REGISTRY/app'), undefined);
  });
});

describe('a rule for other pods', () => {
  const narrow = new CredentialRules([rule('ops', 'docker.example.com/**', { namespaces: patterns('ops') })]);
  test('is told where none is for this one', () => {
    assert.equal(narrow.findForOthers(asked('docker.example.com/app', 'dev'))?.name, 'ops');
  });
  test('is not told where one is', () => {
    assert.equal(narrow.findForOthers(asked('docker.example.com/app', 'ops')), undefined);
  });
  test('is not told for another image', () => {
    assert.equal(narrow.findForOthers(asked('other.example.com/app', 'dev')), undefined);
  });
});
