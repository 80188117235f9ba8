import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { Secret } from '../../secret.js';
import {
  kubectlLine,
  loginLines,
  pullSecretManifest,
  pullSecretName,
  shellWord,
  userNameFor,
} from './shell-lines.js';

const token = new Secret('drp_pat_AbC-_0123456789');

/** Runs a line in a shell where the clients only say what they were given. */
function words(line: string): readonly string[] {
  const clients = ['docker', 'podman', 'helm', 'kubectl'];
  const said = (name: string) => `${name}() { printf '%s\\0' ${name} "$@"; cat; }`;
  const script = `${clients.map(said).join('\n')}\n${line}\n`;
  const { stdout, stderr, status } = spawnSync('/bin/sh', ['-euc', script], {
    encoding: 'utf8',
    input: '',
    env: {},
    cwd: '/',
  });
  assert.equal(status, 0, stderr);
  return stdout.split('\0');
}

const names = [
  'alice',
  'alice@example.com',
  'Alice Liddell',
  "o'brien",
  `"$(touch /tmp/never)"`,
  '`id`',
  '-u',
  '~root',
  '$HOME',
  'a!b',
  'back\\slash',
  'q?*[x]',
  'zoë',
  '#no comment',
  ';ls',
];

describe('lines for a shell', () => {
  for (const name of names) {
    test(`carry the user name ${name} as one word`, () => {
      for (const { program, asking, whole } of loginLines('[::1]:5000', name, token)) {
        const login = program === 'helm' ? ['helm', 'registry', 'login'] : [program, 'login'];
        assert.deepEqual(words(asking), [...login, '[::1]:5000', '-u', name, '']);
        const piped = [...login, '[::1]:5000', '-u', name, '--password-stdin', `${token.reveal()}\n`];
        assert.deepEqual(words(whole ?? ''), piped);
      }
      assert.deepEqual(words(kubectlLine('docker.example.com:5000', name, token)), [
        ...['kubectl', 'create', 'secret', 'docker-registry', 'docker-example-com-5000'],
        '--docker-server=docker.example.com:5000',
        `--docker-username=${name}`,
        `--docker-password=${token.reveal()}`,
        '',
      ]);
    });
  }

  test('without a token there is no line with one', () => {
    for (const { whole } of loginLines('docker.test', 'alice')) assert.equal(whole, undefined);
  });

  test('what needs no quotes has none', () => {
    assert.equal(shellWord('alice@example.com'), 'alice@example.com');
    assert.equal(shellWord(''), "''");
  });
});

describe('the user name in them', () => {
  const cases: readonly (readonly [name: string, shown: string])[] = [
    ['alice', 'alice'],
    ['repo:acme/app:ref', 'repo_acme/app_ref'],
    ['a\nb\tc\u0000', 'a_b_c_'],
    ['a\u202eb\u2028c', 'a_b_c'],
    ['  ', 'token'],
    ['', 'token'],
    ['😀'.repeat(200), '😀'.repeat(128)],
  ];
  for (const [name, shown] of cases) {
    test(`${JSON.stringify(name.slice(0, 20))} is ${JSON.stringify(shown.slice(0, 20))}`, () => {
      assert.equal(userNameFor(name), shown);
    });
  }
});

describe('the pull secret', () => {
  for (const [host, name] of [
    ['docker.example.com', 'docker-example-com'],
    ['localhost:5050', 'localhost-5050'],
    ['[::1]:5050', '1-5050'],
    [`${'a'.repeat(62)}.b`, 'a'.repeat(62)],
    ['[::]', 'registry'],
  ] as const) {
    test(`of ${host} is named ${name}`, () => assert.equal(pullSecretName(host), name));
  }

  test('holds what the clients of a node read', () => {
    const manifest = parse(pullSecretManifest('docker.test', `o'brien "x"`, token)) as {
      readonly data: Readonly<Record<string, string>>;
    } & Record<string, unknown>;
    const { data, ...rest } = manifest;
    assert.deepEqual(rest, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'docker-test' },
      type: 'kubernetes.io/dockerconfigjson',
    });
    const config = Buffer.from(data['.dockerconfigjson'] ?? '', 'base64').toString();
    const password = token.reveal();
    const username = `o'brien "x"`;
    const auth = Buffer.from(`${username}:${password}`).toString('base64');
    assert.deepEqual(JSON.parse(config), { auths: { 'docker.test': { username, password, auth } } });
  });

  test('of a host of digits only is a text in YAML', () => {
    const { metadata } = parse(pullSecretManifest('[::1]', 'a', token)) as { metadata: { name: unknown } };
    assert.equal(typeof metadata.name, 'string');
  });
});
