import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { createAuthority } from '../../src/testing/certificates.js';
import {
  type MemoryRegistry,
  type MemoryRegistryOptions,
  startMemoryRegistry,
} from '../../src/testing/index.js';
import { type LoopbackServer, startLoopbackServer } from '../../src/testing/loopback-server.js';
import { CheckedDirectory, cells, type Ended, program, run, told } from './checking.js';

// `check --connect` as operators see it: real registries on loopback, one upstream each, and what is printed about it.

const directory = new CheckedDirectory();
const configuration = directory.configuration.bind(directory);
const password = 'pass-word-that-is-right';
const wrong = 'pass-word-that-is-wrong';
const apiToken = 'token-that-is-both-user-and-password';
/** What must never be printed. */
const secrets = [password, wrong, apiToken].flatMap((text) => [
  text,
  Buffer.from(`acme:${text}`).toString('base64').slice(0, -4),
]);
/** A label longer than 63 characters: no resolver asks anybody for it. */
const noName = `${'a'.repeat(64)}.example.com`;

const credential = (file: string) => ({ type: 'static', username: 'acme', password: { file } });

async function connect(name: string, upstreams: Readonly<Record<string, object>>): Promise<Ended> {
  const ended = await run(['check', '--config', configuration(name, upstreams), '--connect']);
  for (const secret of secrets) {
    assert.ok(
      !`${ended.stdout}${ended.stderr}`.includes(secret),
      `a secret is in: ${ended.stdout}${ended.stderr}`,
    );
  }
  return ended;
}

const open: { close(): Promise<void> }[] = [];
async function registry(options?: MemoryRegistryOptions): Promise<MemoryRegistry> {
  const started = await startMemoryRegistry(options);
  open.push(started);
  return started;
}

const basic = { kind: 'basic', username: 'acme', password } as const;
const token = { kind: 'token', username: 'acme', password } as const;

describe('check --connect', () => {
  before(() => {
    directory.write('right', password);
    directory.write('wrong', wrong);
    directory.write('api-token', apiToken);
    directory.write(
      'docker.json',
      JSON.stringify({ credHelpers: { '127.0.0.1': 'x' }, credsStore: 'not-installed-here' }),
    );
    directory.write('empty.json', JSON.stringify({ auths: {} }));
  });
  after(async () => {
    await Promise.all(open.map((one) => one.close()));
    directory.remove();
  });

  test('shows what works, and exits with 0', async () => {
    const [withBasic, withToken, isPublic, isOpen, both] = await Promise.all([
      registry({ auth: basic }),
      registry({ auth: token }),
      registry({ auth: { ...token, anonymousPull: true } }),
      registry(),
      registry({ auth: { kind: 'basic', username: apiToken, password: apiToken } }),
    ]);
    const { code, stdout, stderr } = await connect('fine.yaml', {
      basic: { url: withBasic.url, credentials: credential('right') },
      token: { url: withToken.url, credentials: credential('right') },
      public: { url: isPublic.url },
      open: { url: isOpen.url },
      tried: { url: isOpen.url, credentials: credential('right') },
      both: { url: both.url, credentials: { ...credential('api-token'), username: apiToken } },
      none: { url: isPublic.url, credentials: { type: 'docker-config', file: 'empty.json' } },
    });
    assert.equal(code, 0, `${stdout}${stderr}`);
    assert.match(stdout, /^UPSTREAM +REGISTRY +CREDENTIAL +NAME +\/v2\/ +TOKEN +ACCESS$/m);
    assert.deepEqual(cells(stdout, 'basic'), [
      'basic',
      withBasic.host,
      'static: user acme',
      '-',
      'ok',
      '-',
      'ok',
    ]);
    assert.deepEqual(cells(stdout, 'token'), [
      'token',
      withToken.host,
      'static: user acme',
      '-',
      'ok',
      'ok',
      'ok',
    ]);
    assert.deepEqual(cells(stdout, 'public').slice(2), ['anonymous', '-', 'ok', '-', '-']);
    assert.deepEqual(cells(stdout, 'open').slice(2), ['anonymous', '-', 'ok', '-', 'ok']);
    assert.deepEqual(cells(stdout, 'both').slice(2, 3), ['static: a user name and password']);
    assert.deepEqual(cells(stdout, 'none').slice(2, 3), ['docker-config: none']);
    assert.match(stdout, /^public \(\S+\): asked anonymously: what is public there, and no more$/m);
    assert.match(stdout, /^tried \(\S+\): it lets everybody in: the credential was not tried$/m);
    assert.match(stdout, /^none \(\S+\): docker-config has no credential for it$/m);
    assert.match(stdout, /^\S+fine\.yaml: the configuration is fine\n/);
    assert.match(stdout, /^all upstreams: fine$/m);
    assert.doesNotMatch(stdout, /open \(/);
    assert.match(stderr, /^connecting: .*shown its credentials/);
    assert.ok(!stdout.includes('\u001b'), 'colours, and nobody looks');
  });

  describe('says what to fix, and exits with 1', () => {
    let ended: Ended;
    const at = new Map<string, string>();
    before(async () => {
      const { certificate, privateKey } = await createAuthority();
      const [withBasic, withToken, overloaded, realm, tls, plain] = await Promise.all([
        registry({ auth: basic }),
        registry({ auth: token }),
        registry({ auth: token }),
        registry({ auth: { ...token, origin: 'other' } }),
        registry({ tls: { cert: certificate, key: privateKey } }),
        registry(),
      ]);
      const answering = (
        status: number,
        headers: Readonly<Record<string, string>> = {},
      ): Promise<LoopbackServer> =>
        startLoopbackServer((_request, response) => {
          response.writeHead(status, headers).end('<html>');
        });
      const servers = await Promise.all([
        answering(404),
        answering(401, { 'www-authenticate': 'Negotiate' }),
        answering(302, { location: 'https://login.example.com/?secret=1' }),
        answering(503),
        answering(200),
      ]);
      open.push(...servers);
      const [web, gateway, redirect, down, closed] = servers;
      await closed?.close();
      overloaded.faults.add({ path: '/token' }, { answer: { status: 503 } });
      const both = { url: withBasic.url, credentials: [credential('right'), credential('wrong')] };
      const urls = {
        password: { url: withBasic.url, credentials: credential('wrong') },
        tokens: { url: withToken.url, credentials: credential('wrong') },
        realm: { url: realm.url, credentials: credential('right') },
        name: { url: noName },
        port: { url: closed?.url },
        proxy: {
          url: 'registry.example.com',
          proxy: closed?.url.replace('//', '//me:pass-word-that-is-right@'),
        },
        overloaded: { url: overloaded.url, credentials: credential('right') },
        tls: { url: tls.url },
        plain: { url: plain.host },
        web: { url: web?.url },
        gateway: { url: gateway?.url },
        redirect: { url: redirect?.url },
        down: { url: down?.url },
        helper: { url: plain.url, credentials: { type: 'docker-config', file: 'docker.json' } },
        missing: { url: withBasic.url },
        both,
      };
      for (const [name, { url }] of Object.entries(urls))
        at.set(name, String(url).replace(/^https?:\/\//, ''));
      ended = await connect('failing.yaml', urls);
    });

    test('with the number of those that failed', () => {
      assert.equal(ended.code, 1, `${ended.stdout}${ended.stderr}`);
      assert.match(ended.stdout, /^failed: 16 of 17$/m);
    });

    const table: readonly (readonly [
      name: string,
      cells: readonly string[],
      said: RegExp,
      fix: RegExp | undefined,
    ])[] = [
      [
        'password',
        ['-', 'ok', '-', 'FAILED'],
        /access: the upstream refuses our credential/,
        /upstreams\.password\.credentials/,
      ],
      [
        'tokens',
        ['-', 'ok', 'FAILED', '-'],
        /token: the token endpoint \S+ refuses our credential \(401\)/,
        /upstreams\.tokens\.credentials/,
      ],
      [
        'realm',
        ['-', 'FAILED', '-', '-'],
        /\/v2\/: .*the realm \S+ is not on the registry's own host/,
        /name it as `realm`/,
      ],
      ['name', ['FAILED', '-', '-', '-'], /name: its name cannot be resolved/, /DNS/],
      [
        'port',
        ['-', 'FAILED', '-', '-'],
        /\/v2\/: no answer from \S+: the connection is refused/,
        /is the port right/,
      ],
      [
        'proxy',
        ['-', 'FAILED', '-', '-'],
        /no answer from registry\.example\.com: the proxy 127\.0\.0\.1:\d+ is not reached: the connection is refused$/,
        /^is `proxy` right, and does the proxy run\?$/,
      ],
      [
        'overloaded',
        ['-', 'ok', 'FAILED', '-'],
        /token: the token endpoint 127\.0\.0\.1:\d+ answers 503$/,
        /^it is out of order.*try later$/,
      ],
      ['tls', ['-', 'FAILED', '-', '-'], /no answer from \S+: its certificate is not trusted$/, /as `ca`/],
      ['plain', ['-', 'FAILED', '-', '-'], /no answer from \S+: it does not speak TLS here$/, /http:\/\//],
      ['web', ['-', 'FAILED', '-', '-'], /it answers 404 to \/v2\//, /is it a registry/],
      ['gateway', ['-', 'FAILED', '-', '-'], /answers 401 .* neither Bearer nor Basic/, /gateway/],
      [
        'redirect',
        ['-', 'FAILED', '-', '-'],
        /it sends \/v2\/ to https:\/\/login\.example\.com$/,
        /write that as `url`/,
      ],
      ['down', ['-', 'FAILED', '-', '-'], /it answers 503 to \/v2\//, /try later/],
      [
        'helper',
        ['-', 'ok', '-', '-'],
        /credential: docker-credential-not-installed-here: it cannot be started: it is not there/,
        undefined,
      ],
      [
        'missing',
        ['-', 'ok', '-', 'FAILED'],
        /there is no credential/,
        /set `upstreams\.missing\.credentials`/,
      ],
    ];
    for (const [name, steps, said, fix] of table) {
      test(name, () => {
        const { stdout } = ended;
        assert.deepEqual(cells(stdout, name).slice(3), steps, stdout);
        const { said: line, fix: advice } = told(stdout, name);
        assert.ok(line.startsWith(`${name} (${at.get(name)}): `), stdout);
        assert.match(line, said);
        if (fix === undefined) assert.equal(advice, undefined);
        else assert.match(advice ?? '', fix);
      });
    }

    test('of two credentials each is tried', () => {
      const { stdout } = ended;
      assert.deepEqual(cells(stdout, 'both', 0).slice(2), ['static 1: user acme', '-', 'ok', '-', 'ok']);
      assert.deepEqual(cells(stdout, 'both', 1).slice(2), ['static 2: user acme', '-', 'ok', '-', 'FAILED']);
      assert.match(stdout, /^both \(\S+, credential 2\): access: the upstream refuses our credential$/m);
      assert.match(stdout, /fix: .*`upstreams\.both\.credentials\[1\]`/);
      assert.doesNotMatch(stdout, /^both \(\S+, credential 1\)/m);
    });

    test('within 100 columns, however long a host is', () => {
      const rows = ended.stdout.split('\n\n')[0]?.split('\n').slice(1) ?? [];
      assert.equal(rows.length, 18, ended.stdout);
      for (const row of rows) assert.ok(row.length <= 100, `${row.length}: ${row}`);
    });
  });

  test('says which type of credentials was chosen for a host that was not given any', async () => {
    const proxy = await startLoopbackServer(() => {});
    await proxy.close();
    const file = configuration('usual.yaml', { google: { url: 'gcr.io', proxy: proxy.url } });
    const { GOOGLE_APPLICATION_CREDENTIALS: _, ...environment } = process.env;
    const env = { ...environment, GCE_METADATA_HOST: new URL(proxy.url).host };
    const { code, stdout } = await run(['check', '--config', file, '--connect'], env);
    assert.equal(code, 1, stdout);
    assert.deepEqual(cells(stdout, 'google').slice(1), ['gcr.io', 'gcp: FAILED', '-', 'FAILED', '-', '-']);
    assert.match(stdout, /credential: credentials of type gcp were chosen for gcr\.io: no answer from 127/);
    assert.match(stdout, /fix: set `credentials`; .*\{ type: anonymous \}/);
  });

  test('without it no connection is made', async () => {
    const remote = await registry({ auth: basic });
    const file = configuration('quiet.yaml', { mine: { url: remote.url, credentials: credential('right') } });
    const { code, stderr } = await run(['check', '--config', file]);
    assert.equal(code, 0, stderr);
    assert.deepEqual(remote.requests, []);
    assert.equal((await run(['check', '--config', file, '--connect'])).code, 0);
    assert.ok(remote.requests.length > 0, 'the same with --connect asks nobody');
  });

  test('a configuration that is wrong is not tried: exit code 2', async () => {
    const remote = await registry();
    const bad = configuration('bad.yaml', { mine: { url: `${remote.url}/library` } });
    const { code, stdout, stderr } = await run(['check', '--config', bad, '--connect']);
    assert.equal(code, 2, stdout);
    assert.match(
      stderr,
      /bad\.yaml:\d+:\d+: upstreams\.mine\.url: expected 127\.0\.0\.1:\d+, without \/library: /,
    );
    assert.deepEqual(remote.requests, []);
  });

  for (const [args, message] of [
    [['--timeout', '5s'], /^--timeout: it belongs to --connect$/m],
    [['--connect', '--timeout', 'soon'], /^--timeout: expected a duration such as 30s/m],
    [['--connect', '--timeout', '0s'], /^--timeout: expected a duration .*at least 1s/m],
  ] as const) {
    test(`${args.join(' ')}: exit code 2`, async () => {
      const { code, stderr } = await run(['check', '--config', configuration('any.yaml', {}), ...args]);
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
    });
  }

  test('what does not answer is given up after --timeout', async () => {
    const remote = await registry();
    remote.faults.add({ path: '/v2/' }, { delay: 600_000 });
    const file = configuration('slow.yaml', { slow: { url: remote.url } });
    const { code, stdout, stderr } = await run(['check', '--config', file, '--connect', '--timeout', '1s']);
    assert.equal(code, 1, stderr);
    assert.deepEqual(cells(stdout, 'slow').slice(2), ['anonymous', '-', 'FAILED', '-', '-']);
    assert.match(stdout, /^slow \(\S+\): \/v2\/: not done within 1s$/m);
    assert.match(stdout, /^ {2}fix: more time \(--timeout\), or the network between$/m);
  });

  test('the step that hangs is blamed, and what else was found is told', async () => {
    const remote = await registry({ auth: basic });
    directory.write('docker-credential-hangs', '#!/bin/sh\nexec sleep 60\n', 0o700);
    directory.write('hangs.json', JSON.stringify({ credsStore: 'hangs' }));
    const file = configuration('hanging.yaml', {
      hanging: { url: remote.url, credentials: { type: 'docker-config', file: 'hangs.json' } },
    });
    const env = { ...process.env, PATH: `${directory.path}:${process.env.PATH}` };
    const { code, stdout } = await run(['check', '--config', file, '--connect', '--timeout', '2s'], env);
    assert.equal(code, 1, stdout);
    assert.deepEqual(cells(stdout, 'hanging').slice(2), ['docker-config: FAILED', '-', 'ok', '-', '-']);
    const { said, fix } = told(stdout, 'hanging');
    assert.match(said, /: credential: not done within 2s$/);
    assert.match(fix ?? '', /the program or server that `upstreams\.hanging\.credentials` asks$/);
  });

  test('SIGINT ends it', { timeout: 60_000 }, async () => {
    const remote = await registry();
    remote.faults.add({ path: '/v2/' }, { delay: 600_000 });
    const file = configuration('interrupted.yaml', { slow: { url: remote.url } });
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', program, 'check', '--config', file, '--connect'],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    let stderr = '';
    child.stderr.on('data', (piece) => {
      stderr += piece;
    });
    const ended = new Promise((resolve) => child.once('close', resolve));
    try {
      await remote.waitFor((request) => request.path === '/v2/', 30_000);
      child.kill('SIGINT');
      assert.equal(await ended, 1, stderr);
      assert.match(stderr, /^ended by SIGINT$/m);
    } finally {
      child.kill('SIGKILL');
    }
  });
});
