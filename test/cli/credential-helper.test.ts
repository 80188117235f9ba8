import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { usualPatience } from '../../src/bin/credential-helper/run.js';
import { machineUsers } from '../../src/protocol/identity-envelope.js';
import { Machine, notFound, repeated } from './asking.js';

// The protocol of docker's credential helpers, with a configuration.

const password = 'pa+ss "wörd"/%3d';

function configured(t: TestContext): Machine {
  const machine = new Machine(t);
  machine.write('.docker/password', `${password}\n`);
  machine.write('.docker/token', 'the-token');
  const stored = { file: 'password' };
  machine.configure([
    { match: 'docker.example.com', credentials: { type: 'static', username: 'robot', password: stored } },
    { match: 'open.internal', credentials: { type: 'anonymous' } },
    { match: '*.internal', credentials: { type: 'static', username: 'inner', password: stored } },
    { match: 'Token.example.com:5000', credentials: { type: 'static', identityToken: { file: 'token' } } },
    { match: 'bearer.example.com', credentials: { type: 'static', registryToken: { file: 'token' } } },
    { match: 'docker.io', credentials: { type: 'static', username: 'hub', password: stored } },
    { match: 'machine.example.com', credentials: { type: 'kubernetes-token' } },
    { match: 'docker.example.com', credentials: { type: 'static', username: 'later', password: stored } },
  ]);
  return machine;
}

describe('get', () => {
  for (const [server, username, secret = password] of [
    ['docker.example.com', 'robot'],
    ['docker.example.com\n', 'robot'],
    ['DOCKER.example.com:443', 'robot'],
    ['https://docker.example.com', 'robot'],
    ['https://docker.example.com/v2/', 'robot'],
    ['http://docker.example.com:80/', 'robot'],
    ['docker.example.com/team/app', 'robot'],
    ['a.b.internal', 'inner'],
    ['token.example.com:5000', '<token>', 'the-token'],
    ['https://index.docker.io/v1/', 'hub'],
  ] as const) {
    test(`${JSON.stringify(server)} is ${username}`, async (t) => {
      const { code, stdout, stderr } = await configured(t).ask('get', server);
      assert.deepEqual([code, stderr], [0, ''], stdout);
      assert.deepEqual(JSON.parse(stdout), { ServerURL: server.trim(), Username: username, Secret: secret });
    });
  }

  test('the program itself: one line on standard output, and the exit code', async (t) => {
    const machine = configured(t);
    const { code, stdout, stderr } = await machine.askProgram('get', 'docker.example.com\n');
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^\{[^\n]*\}\n$/);
    const ServerURL = 'docker.example.com';
    assert.deepEqual(JSON.parse(stdout), { ServerURL, Username: 'robot', Secret: password });
    assert.deepEqual(await machine.askProgram('get', 'other.example.com'), notFound);
    const refused = await machine.askProgram('get', 'ftp://docker.example.com');
    assert.deepEqual([refused.code, refused.stderr], [1, repeated(refused.stdout)]);
    assert.match(refused.stdout, /^the server is not a registry: .*\n$/);
    assert.equal((await machine.askProgram([])).code, 2);
  });

  for (const server of [
    'other.example.com',
    'docker.example.com:5000',
    'docker.example.com.evil.com',
    'evildocker.example.com',
    'open.internal',
    'evil-internal',
    'internal',
    'token.example.com',
    'gcr.io',
  ]) {
    test(`${server} has none`, async (t) => {
      assert.deepEqual(await configured(t).ask('get', server), notFound);
    });
  }

  for (const [what, server, message] of [
    ['nothing', ' \n', /^no credentials server URL$/],
    ['another protocol', 'ftp://docker.example.com', /^the server is not a registry: expected a host/],
    ['no host', '--help me', /^the server is not a registry/],
    ['a user', 'https://robot:pass@docker.example.com', /^the server is not a registry/],
    ['too much', 'a'.repeat(70_000), /^what stands on standard input is larger than 65536 bytes$/],
    [
      'what no helper can give',
      'bearer.example.com',
      /^bearer\.example\.com: its credential is a registryToken/,
    ],
    ['what is not there', 'machine.example.com', /^machine\.example\.com: kubernetes-token: .*ENOENT/],
  ] as const) {
    test(`${what}: one line that says so`, async (t) => {
      const { code, stdout, stderr } = await configured(t).ask('get', server);
      assert.deepEqual([code, stderr], [1, repeated(stdout)]);
      assert.match(stdout.trimEnd(), message);
      assert.equal(stdout.trimEnd().split('\n').length, 1, stdout);
      assert.doesNotMatch(stdout, /the-token|robot:pass/);
    });
  }
});

describe('the other actions', () => {
  const toStore = (Username: string, ServerURL = 'docker.example.com') =>
    JSON.stringify({ ServerURL, Username, Secret: 'its-password' });

  for (const username of [...Object.values(machineUsers), '_kubernetes-a', 'robot']) {
    test(`store of ${username} keeps nothing, and that is fine`, async (t) => {
      const machine = configured(t);
      assert.deepEqual(await machine.ask('store', toStore(username)), { ...notFound, code: 0, stdout: '' });
    });
  }

  for (const [what, input, message] of [
    [
      'of somebody else',
      toStore('alice'),
      /^docker-credential-registry-proxy keeps no passwords: .*docker\.example\.com/,
    ],
    ['of the one of another registry', toStore('inner'), /keeps no passwords/],
    ['of what only begins like a machine', toStore('_kubernetesa'), /keeps no passwords/],
    ['of nobody', toStore(''), /^no credentials username$/],
    ['of no server', toStore('robot', ''), /^no credentials server URL$/],
    ['of what is not JSON', 'its-password', /^what stands on standard input is not JSON$/],
    ['of null', 'null', /^no credentials server URL$/],
  ] as const) {
    test(`store ${what} fails`, async (t) => {
      const { code, stdout, stderr } = await configured(t).ask('store', input);
      assert.deepEqual([code, stderr], [1, '']);
      assert.match(stdout.trimEnd(), message);
      assert.doesNotMatch(stdout, /its-password/);
    });
  }

  test('erase has nothing to erase, and list tells what is written as it is', async (t) => {
    const machine = configured(t);
    assert.deepEqual(await machine.ask('erase', 'docker.example.com'), { ...notFound, code: 0, stdout: '' });
    const { code, stdout } = await machine.ask('list', 'unused');
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout), {
      'docker.example.com': 'robot',
      'open.internal': '',
      'token.example.com:5000': '<token>',
      'bearer.example.com': '',
      'docker.io': 'hub',
      'machine.example.com': '_kubernetes',
    });
  });

  test('list without a configuration is empty', async (t) => {
    assert.equal((await new Machine(t).ask('list')).stdout, '{}\n');
  });

  for (const args of ['version', '--version', '-v']) {
    test(`${args} tells the version`, async (t) => {
      const { code, stdout } = await new Machine(t).ask(args);
      assert.equal(code, 0);
      assert.match(stdout, /^docker-credential-registry-proxy \(docker-registry-proxy\) v\d+\.\d+\.\d+\n$/);
    });
  }

  for (const [args, code] of [
    [[], 2],
    [['fetch'], 2],
    [['toString'], 2],
    [['get', 'docker.example.com'], 2],
    [['--help'], 0],
  ] as const) {
    test(`"${args.join(' ')}" tells how it is used, with exit code ${code}`, async (t) => {
      const told = await new Machine(t).ask(args);
      assert.deepEqual([told.code, told.stderr], [code, '']);
      assert.match(
        told.stdout,
        /^Usage: docker-credential-registry-proxy <get\|store\|erase\|list\|version>\n/,
      );
    });
  }
});

describe('a helper of ours that takes long', () => {
  const slow = (t: TestContext): Machine => {
    const machine = new Machine(t);
    const script = ['#!/bin/sh', 'echo $$ > "$HOME/pid"', 'exec sleep 600'].join('\n');
    machine.write('.docker/slow', script, 0o700);
    const credentials = {
      type: 'exec',
      protocol: 'docker-credential-helper',
      command: ['slow'],
      timeout: '1m',
    };
    machine.configure([{ match: 'docker.example.com', credentials }]);
    return machine;
  };
  const pidIn = async ({ home }: Machine): Promise<number> => {
    const file = join(home, 'pid');
    for (let i = 0; i < 3_000 && !(existsSync(file) && readFileSync(file, 'utf8').endsWith('\n')); i++) {
      await sleep(10);
    }
    return Number(readFileSync(file, 'utf8'));
  };
  /** Also where nobody has looked at how it ended yet. */
  const isGone = (pid: number) => {
    try {
      return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    } catch {
      return true;
    }
  };
  /** It was killed; on a busy machine that takes a moment. */
  const assertGone = async (pid: number) => {
    for (let i = 0; i < 1_000 && !isGone(pid); i++) await sleep(10);
    assert.ok(isGone(pid), 'the program it started still runs');
  };

  for (const [signal, code] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGHUP', 129],
  ] as const) {
    test(`is ended by ${signal}, with what it started`, async (t) => {
      const machine = slow(t);
      const { child, ended } = machine.start('get', 'docker.example.com');
      const pid = await pidIn(machine);
      child.kill(signal);
      const told = await ended;
      assert.deepEqual([told.code, told.stdout], [code, `ended by ${signal}\n`]);
      await assertGone(pid);
    });
  }

  const timeout = 60_000;
  test('is ended by its own limit, with what it started', { timeout }, async (t) => {
    const machine = slow(t);
    const told = await machine.ask('get', 'docker.example.com', {}, 4_000);
    assert.deepEqual([told.code, told.stdout], [1, 'no credential within 4 s\n']);
    assert.equal(told.stderr, repeated(told.stdout));
    await assertGone(await pidIn(machine));
  });

  test('is ended by its own limit where nobody says what is wanted', { timeout }, async (t) => {
    const told = await slow(t).ask('get', null, {}, 500);
    assert.deepEqual([told.code, told.stdout], [1, 'no credential within 0.5 s\n']);
    assert.equal(told.stderr, repeated(told.stdout));
  });

  test('its own limit is that of the document', () => {
    const text = readFileSync(
      new URL('../../docs/docker-credential-registry-proxy.md', import.meta.url),
      'utf8',
    );
    assert.equal(usualPatience, 25_000);
    assert.ok(
      text.includes(`no credential within ${usualPatience / 1000} s`),
      'the document has another one',
    );
  });
});

describe('where it writes', () => {
  test('a reader that has gone is no crash', async (t) => {
    const { child, ended } = configured(t).start('get');
    child.stdout?.destroy();
    child.stdin?.end('docker.example.com');
    const { code, stderr } = await ended;
    assert.deepEqual([code, stderr], [1, '']);
  });

  test('debug lines go to standard error, without a secret', async (t) => {
    const machine = configured(t);
    const env = { DOCKER_CREDENTIAL_REGISTRY_PROXY_DEBUG: '1' };
    const { stdout, stderr } = await machine.ask('get', 'machine.example.com', env);
    assert.match(stdout, /^machine\.example\.com: kubernetes-token: /);
    assert.match(stderr, /^docker-credential-registry-proxy: debug: there is no credential \{"registry":/);
    const fine = await machine.ask('get', 'docker.example.com', env);
    assert.doesNotMatch(fine.stderr, /pa\+ss/);
  });
});
