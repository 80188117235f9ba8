import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { assertError, startFront } from '../harness/index.js';

const password = 'from-the-helper';

/** An upstream whose credential comes from `docker-credential-NAME`, a shell script of the test. */
async function start(t: TestContext, script: string, name = 'recorder') {
  const home = await mkdtemp(join(tmpdir(), 'helper-test-'));
  mkdirSync(join(home, 'bin'));
  writeFileSync(join(home, 'bin', `docker-credential-${name}`), `#!/bin/sh\n${script}`, { mode: 0o755 });
  const before = { PATH: process.env.PATH, HOME: process.env.HOME };
  Object.assign(process.env, {
    PATH: `${join(home, 'bin')}${delimiter}${before.PATH}`,
    HOME: home,
    REGISTRY_PASSWORD: 'a-secret-of-the-environment',
    AWS_SECRET_ACCESS_KEY: 'another-secret',
    NODE_OPTIONS: '',
  });
  t.after(async () => {
    Object.assign(process.env, before);
    for (const key of ['REGISTRY_PASSWORD', 'AWS_SECRET_ACCESS_KEY', 'NODE_OPTIONS']) delete process.env[key];
    await rm(home, { recursive: true, force: true });
  });
  const registry = await startMemoryRegistry({ auth: { kind: 'basic', username: 'robot', password } });
  t.after(() => registry.close());
  registry.putImage('app', '1', tinyImageFor('amd64', 'hello'));
  const front = await startFront(
    t,
    `
upstreams: { one: { url: "${registry.url}", credentials: { type: docker-config, file: config.json } } }
routes: [{ prefix: "", upstream: one }]
`,
    { files: { 'config.json': JSON.stringify({ credHelpers: { [registry.host]: name } }) } },
  );
  return { front, home, registry };
}

const reply = `echo '{"Username":"robot","Secret":"${password}"}'`;

describe('threat 26: plugin programs inherit secrets through the environment', () => {
  test('a helper sees PATH and HOME, and what it is asked', async (t) => {
    const { front, home, registry } = await start(
      t,
      `env > "$HOME/env"\ncat > "$HOME/stdin"\necho "$@" > "$HOME/args"\n${reply}\n`,
    );
    assert.equal((await front.sendAs('alice', '/v2/app/manifests/1')).status, 200);
    const names = readFileSync(join(home, 'env'), 'utf8')
      .split('\n')
      .map((line) => line.split('=')[0] ?? '')
      .filter((name) => name !== '');
    // The shell itself adds PWD and its like.
    assert.deepEqual(
      names.filter((name) => !['PATH', 'HOME', 'PWD', 'OLDPWD', 'SHLVL', '_'].includes(name)),
      [],
    );
    assert.equal(readFileSync(join(home, 'stdin'), 'utf8'), registry.host);
    assert.equal(readFileSync(join(home, 'args'), 'utf8'), 'get\n');
    assert.ok(!front.log().includes(password), '!front.log().includes(password)');
  });

  test('its name is no shell command', async (t) => {
    for (const name of ['x;touch pwned', '../../bin/sh', 'x y', '$(touch pwned)', '']) {
      await assert.rejects(
        async () => {
          const registry = await startMemoryRegistry({
            auth: { kind: 'basic', username: 'robot', password },
          });
          t.after(() => registry.close());
          const front = await startFront(
            t,
            `
upstreams: { one: { url: "${registry.url}", credentials: { type: docker-config, file: config.json } } }
routes: [{ prefix: "", upstream: one }]
`,
            { files: { 'config.json': JSON.stringify({ credHelpers: { [registry.host]: name } }) } },
          );
          const answer = await front.sendAs('alice', '/v2/app/manifests/1');
          assert.ok(
            !existsSync('pwned') && !readdirSync(front.directory).includes('pwned'),
            "!existsSync('pwned') && !readdirSync(front.directory).includes('pwned')",
          );
          assertError(answer, 503, 'UNAVAILABLE');
          throw new Error('refused at the request');
        },
        (error: Error) => !/AssertionError/.test(error.name),
        name,
      );
    }
  });

  test('however many ask at once, one helper runs for them', async (t) => {
    const { front, home } = await start(t, `echo x >> "$HOME/runs"\nsleep 0.3\n${reply}\n`);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => front.sendAs('alice', '/v2/app/manifests/1')),
    );
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    assert.equal(readFileSync(join(home, 'runs'), 'utf8'), 'x\n');
  });

  test('what it writes without end is not taken in', async (t) => {
    const { front } = await start(t, 'yes\n');
    assertError(await front.sendAs('alice', '/v2/app/manifests/1'), 503, 'UNAVAILABLE');
  });

  test('what it says when it fails is not shown to the client', async (t) => {
    const { front } = await start(
      t,
      `echo "cannot use ${password}" >&2\necho "cannot use ${password}"\nexit 1\n`,
    );
    const answer = await front.sendAs('alice', '/v2/app/manifests/1');
    assertError(answer, 503, 'UNAVAILABLE');
    assert.ok(!answer.text.includes('cannot use'), "!answer.text.includes('cannot use')");
    assert.ok(!front.log().includes(password), '!front.log().includes(password)');
  });
});
