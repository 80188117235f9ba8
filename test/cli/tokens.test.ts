import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startMemoryRegistry } from '../../src/testing/index.js';
import { assertError, basic, htpasswd, passwords, send, startFront, type User } from '../harness/index.js';

// `tokens list` and `tokens revoke` beside a proxy that runs, and beside none.

const program = fileURLToPath(new URL('../../src/bin/docker-registry-proxy.ts', import.meta.url));
const liveOn = 'Access tokens that were already issued are good until their ttl is over.\n';

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const command = ['--import', 'tsx', program, ...args];
    execFile(process.execPath, command, { timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** Not to be reached: nothing is pulled here. */
const unused = 'upstreams: { one: { url: "http://127.0.0.1:9" } }\nroutes: [{ prefix: "", upstream: one }]';

const proxies = {
  async 'in this process'(t: TestContext) {
    const registry = await startMemoryRegistry();
    t.after(() => registry.close());
    const front = await startFront(
      t,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
token: { refreshTokens: true }
state: { type: file, path: state }
`,
    );
    return { port: front.port, directory: front.directory, stop: front.stop };
  },
  async 'as a program'(t: TestContext) {
    const directory = await workspace(
      t,
      'token: { refreshTokens: true }\nstate: { type: file, path: state }',
    );
    return { ...(await serve(t, directory)), directory };
  },
};

async function workspace(t: TestContext, settings: string): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'drp-tokens-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, 'users.htpasswd'), await htpasswd(passwords));
  writeFileSync(
    join(directory, 'proxy.yaml'),
    `
listen: 127.0.0.1:0
externalUrl: http://docker.test
verifiers: [{ id: local, type: htpasswd, file: users.htpasswd }]
policy: [{ names: ["local:alice"], repositories: ["**"], actions: [pull] }]
${unused}
${settings}
`,
  );
  return directory;
}

async function serve(t: TestContext, directory: string) {
  const config = join(directory, 'proxy.yaml');
  const child = spawn(process.execPath, ['--import', 'tsx', program, 'serve', '--config', config], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const stop = () => end(child, 'SIGTERM');
  t.after(stop);
  for await (const line of createInterface({ input: child.stdout })) {
    const { event, listen } = JSON.parse(line) as { event?: string; listen?: string };
    if (event !== 'start') continue;
    child.stdout.resume();
    return { port: Number(listen?.split(':').at(-1)), stop, kill: () => end(child, 'SIGKILL') };
  }
  return assert.fail('it ended before it served');
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}

async function login(port: number, user: User): Promise<string> {
  const answer = await send(port, '/token?offline_token=true&client_id=docker', {
    headers: { authorization: basic(user, passwords[user]) },
  });
  assert.equal(answer.status, 200, answer.text);
  return (JSON.parse(answer.text) as { refresh_token?: string }).refresh_token ?? assert.fail('no token');
}

function redeem(port: number, token: string) {
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token }).toString();
  return send(port, '/token', { method: 'POST', body });
}

for (const [kind, start] of Object.entries(proxies)) {
  test(`beside a proxy that runs ${kind}: list shows a login, revoke ends it at once, a new login works`, async (t) => {
    const { port, directory, stop } = await start(t);
    const config = ['--config', join(directory, 'proxy.yaml')];
    const [first, second, bobs] = [
      await login(port, 'alice'),
      await login(port, 'alice'),
      await login(port, 'bob'),
    ];
    const listed = await run('tokens', 'list', ...config);
    assert.deepEqual([listed.code, listed.stderr], [0, '']);
    const [head = '', ...rows] = listed.stdout.trimEnd().split('\n');
    assert.match(head, /^ID {12}TYPE {5}PRINCIPAL {4}SERVICE {6}LABEL {2}CREATED {15}LAST USED {13}EXPIRES$/);
    const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`;
    for (const [i, name] of ['alice', 'alice', 'bob'].entries()) {
      assert.match(
        rows[i] ?? '',
        new RegExp(`^[0-9a-f]{12}  refresh  local:${name} +docker.test  - {6}${time}  ${time}  ${time}$`),
      );
    }
    assert.equal(rows.length, 3);

    // One by its ID.
    const id = rows[0]?.slice(0, 12) ?? '';
    assert.deepEqual(await run('tokens', 'revoke', ...config, '--id', id), {
      ...{ code: 0, stderr: '' },
      stdout: `The refresh token ${id} of local:alice was revoked.\n${liveOn}`,
    });
    const statuses = [(await redeem(port, first)).status, (await redeem(port, second)).status];
    assert.deepEqual(statuses.toSorted(), [200, 401], 'one of the two');
    const again = await run('tokens', 'revoke', ...config, '--id', id);
    assert.deepEqual([again.code, again.stderr], [2, `--id: no refresh token has the ID ${id}\n`]);

    // All of hers.
    const all = ['tokens', 'revoke', ...config, '--principal', 'local:alice'];
    assert.deepEqual(await run(...all), {
      ...{ code: 0, stderr: '' },
      stdout: `1 refresh token of local:alice revoked.\n${liveOn}`,
    });
    for (const token of [first, second]) assertError(await redeem(port, token), 401, 'UNAUTHORIZED');
    assert.equal((await redeem(port, bobs)).status, 200, "bob's");
    const third = await login(port, 'alice');
    assert.equal((await redeem(port, third)).status, 200, 'a new login');
    const json = await run('tokens', 'list', ...config, '--principal', 'local:alice', '--json');
    const [only, ...others] = JSON.parse(json.stdout) as Readonly<Record<string, string>>[];
    assert.deepEqual(others, []);
    assert.deepEqual(Object.keys(only ?? {}), [
      ...['id', 'type', 'principal', 'verifier', 'name', 'service', 'created', 'lastUsed', 'expires'],
    ]);
    assert.equal(only?.principal, 'local:alice');

    // While it is stopped.
    await stop();
    assert.match((await run('tokens', 'list', ...config)).stdout, /local:bob/);
    assert.match((await run(...all)).stdout, /^1 refresh token of local:alice revoked\.\n/);
    assert.deepEqual(await run(...all), {
      ...{ code: 0, stderr: '' },
      stdout: `local:alice has no refresh token: none was revoked.\n${liveOn}`,
    });
    const restarted = await serve(t, directory);
    assertError(await redeem(restarted.port, third), 401, 'UNAUTHORIZED');
    assert.equal((await redeem(restarted.port, bobs)).status, 200, "bob's, after a restart");

    const output = JSON.stringify([listed, json]);
    const kept = readdirSync(join(directory, 'state'))
      .filter((name) => name.endsWith('.json'))
      .map((name) => JSON.parse(readFileSync(join(directory, 'state', name), 'utf8')).key as string);
    for (const token of [first, second, third, bobs]) {
      assert.ok(!output.includes(token.slice('drp_refresh_'.length)), 'a token is shown');
    }
    for (const key of kept) assert.ok(!output.includes(key.split('/')[1] ?? key), 'a whole hash is shown');
  });
}

test('a second proxy on the same state does not start; after a SIGKILL it does', async (t) => {
  const directory = await workspace(t, 'token: { refreshTokens: true }\nstate: { type: file, path: state }');
  const first = await serve(t, directory);
  const token = await login(first.port, 'alice');
  const second = await run('serve', '--config', join(directory, 'proxy.yaml'));
  assert.equal(second.code, 2, second.stderr);
  assert.match(
    second.stderr,
    /^\S+proxy\.yaml: state\.path: state is in use by process \d+ on host \S+ since \S+Z: stop that one, or give .*\n$/,
  );
  await first.kill();
  const third = await serve(t, directory);
  assert.equal((await redeem(third.port, token)).status, 200);
});

describe('tokens', async () => {
  const on = 'token: { refreshTokens: true }';
  const inFiles = `${on}\nstate: { type: file, path: state }`;
  for (const [what, settings, args, code, message] of [
    ['no subcommand', inFiles, [], 2, /Usage: docker-registry-proxy tokens/],
    ['list of no configuration', inFiles, ['list'], 2, /required option '--config <file>'/],
    [
      'neither kind of token',
      'state: { type: file, path: state }',
      ['list'],
      2,
      /token\.refreshTokens is off/,
    ],
    [
      'a state in memory',
      on,
      ['list'],
      2,
      /^state: the state is in the memory of each process \(type: memory\)/,
    ],
    ['a state that is not there', inFiles, ['list'], 1, /cannot read the state in .*state: ENOENT/],
    ['neither principal nor ID', inFiles, ['revoke'], 2, /expected one of --principal and --id/],
    [
      'both principal and ID',
      inFiles,
      ['revoke', '--principal', 'local:alice', '--id', '0123456789ab'],
      2,
      /expected one of --principal and --id/,
    ],
    [
      'a principal of no verifier',
      inFiles,
      ['revoke', '--principal', 'corp:alice'],
      2,
      /--principal: expected VERIFIER:NAME with one of the verifiers local/,
    ],
    [
      'a principal without a verifier',
      inFiles,
      ['list', '--principal', 'alice'],
      2,
      /--principal: expected VERIFIER:/,
    ],
    [
      'a principal without a name',
      inFiles,
      ['list', '--principal', 'local:'],
      2,
      /--principal: expected VERIFIER:/,
    ],
    ['an ID that is none', inFiles, ['revoke', '--id', '0123'], 2, /--id: expected the 12 characters/],
  ] as const) {
    test(`${what}: exit code ${code} and a message without a stack`, async (t) => {
      const directory = await workspace(t, settings);
      const config =
        args.length === 0 || what.includes('no configuration')
          ? []
          : ['--config', join(directory, 'proxy.yaml')];
      const ended = await run('tokens', ...args, ...config);
      assert.deepEqual([ended.code, ended.stdout], [code, ''], ended.stderr);
      assert.match(ended.stderr, message);
      assert.doesNotMatch(ended.stderr, /\n\s+at /);
    });
  }

  test('--help shows examples', async () => {
    for (const command of ['list', 'revoke']) {
      const { code, stdout } = await run('tokens', command, '--help');
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`Examples:\n {2}docker-registry-proxy tokens ${command} --config`));
    }
  });
});
