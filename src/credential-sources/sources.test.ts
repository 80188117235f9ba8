import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { Credential, CredentialSource, DriverDependencies } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseRegistryHost } from '../reference/registry-host.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { driver as anonymous } from './anonymous.js';
import { driver as dockerConfig } from './docker-config.js';
import { driver as fixed } from './static.js';

const signal = new AbortController().signal;

function directory(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'source-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}

function dependencies(baseDirectory: string, clock = new FakeClock()): DriverDependencies {
  const log = () => {};
  return {
    id: 'test',
    baseDirectory,
    clock,
    log: { debug: log, info: log, warn: log, error: log },
    metrics: new FakeMetrics(),
  };
}

function repository(text: string) {
  const slash = text.indexOf('/');
  return {
    registry: parseRegistryHost(text.slice(0, slash)),
    name: parseRepositoryName(text.slice(slash + 1)),
  };
}

function registry(text: string) {
  return { registry: parseRegistryHost(text) };
}

function shown(credential: Credential | undefined): string | undefined {
  if (credential === undefined) return undefined;
  if (credential.kind === 'basic') return `${credential.username}:${credential.password.reveal()}`;
  return `${credential.kind} ${credential.token.reveal()}`;
}

async function ask(source: CredentialSource, text: string, rejected?: Credential) {
  return shown(await source.credentialFor(repository(text), { signal, ...(rejected && { rejected }) }));
}

test('a file that cannot be read again is logged with the id of what it is for, without what it holds', async (t) => {
  const base = directory(t);
  const file = join(base, 'file');
  const log = new FakeLog();
  const given = { ...dependencies(base), id: 'hub', log };
  writeFileSync(file, '{}');
  const sources = [
    await fixed.open(fixed.config.parse({ username: 'robot', password: { file } }), given),
    await dockerConfig.open(dockerConfig.config.parse({ file }), given),
  ];
  rmSync(file);
  for (const source of sources) await ask(source, 'gcr.io/a');
  assert.deepEqual(
    log.at('error').map(({ fields }) => fields.id),
    ['hub', 'hub'],
  );
});

describe('anonymous', () => {
  test('has nothing, and takes no settings', async () => {
    const source = await anonymous.open(anonymous.config.parse({}), dependencies('/'));
    assert.equal(await ask(source, 'gcr.io/a'), undefined);
    assert.equal(anonymous.config.safeParse({ username: 'x' }).success, false);
  });
});

describe('static', () => {
  const open = (config: unknown, base: string) => fixed.open(fixed.config.parse(config), dependencies(base));

  test('gives what its files hold, and what they hold later', async (t) => {
    const base = directory(t);
    const file = join(base, 'secret');
    writeFileSync(file, 'first\r\n');
    const secret = { file: 'secret' };
    const basic = await open({ username: 'robot', password: secret }, base);
    const identity = await open({ identityToken: secret }, base);
    const token = await open({ registryToken: { file } }, base);
    assert.equal(await ask(basic, 'gcr.io/a'), 'robot:first');
    assert.equal(await ask(identity, 'gcr.io/a'), 'identity-token first');
    assert.equal(await ask(token, 'gcr.io/a'), 'registry-token first');
    writeFileSync(file, 'the second\n');
    assert.equal(await ask(basic, 'gcr.io/a'), 'robot:the second');
    writeFileSync(file, '\n');
    writeFileSync(file, 'third\n\n');
    assert.equal(await ask(basic, 'gcr.io/a'), 'robot:third', 'line breaks at the end are not meant');
  });

  for (const [what, change] of [
    ['vanishes', (file: string) => rmSync(file)],
    ['has nothing in it', (file: string) => writeFileSync(file, '')],
    ['has a line break only', (file: string) => writeFileSync(file, '\r\n')],
    [
      'becomes a directory',
      (file: string) => {
        rmSync(file);
        mkdirSync(file);
      },
    ],
    ['is too long', (file: string) => writeFileSync(file, 'x'.repeat(70_000))],
  ] as const) {
    test(`goes on with what a file held that ${what}, says so once, and takes what comes after it`, async (t) => {
      const base = directory(t);
      const file = join(base, 'secret');
      writeFileSync(file, 'first');
      const log = new FakeLog();
      const config = fixed.config.parse({ username: 'robot', password: { file } });
      const source = await fixed.open(config, { ...dependencies(base), log });
      change(file);
      for (let i = 0; i < 3; i++) assert.equal(await ask(source, 'gcr.io/a'), 'robot:first');
      assert.deepEqual(
        log.entries.map(({ level, message }) => [level, message]),
        [['error', 'a secret cannot be read again; the last one stays']],
      );
      assert.ok(!log.text.includes('first'), 'the log has the secret');
      rmSync(file, { recursive: true, force: true });
      writeFileSync(file, 'second');
      assert.equal(await ask(source, 'gcr.io/a'), 'robot:second');
    });
  }

  test('is the same for every repository, and has no end', async (t) => {
    const base = directory(t);
    writeFileSync(join(base, 'secret'), 'pw');
    const source = await open({ username: 'robot', password: { file: 'secret' } }, base);
    assert.equal(source.keyFor?.(repository('gcr.io/a')), source.keyFor?.(registry('quay.io')));
    const credential = await source.credentialFor(repository('gcr.io/a'), { signal });
    assert.deepEqual([credential?.refreshAt, credential?.expiresAt], [undefined, undefined]);
  });

  test('gives a variable', async () => {
    process.env.SOURCE_TEST = 'from env';
    const source = await open({ username: 'robot', password: { env: 'SOURCE_TEST' } }, '/');
    delete process.env.SOURCE_TEST;
    assert.equal(await ask(source, 'gcr.io/a'), 'robot:from env');
  });

  test('says in one line at the start what is missing', async (t) => {
    const base = directory(t);
    writeFileSync(join(base, 'empty'), '');
    writeFileSync(join(base, 'big'), 'x'.repeat(70_000));
    mkdirSync(join(base, 'folder'));
    const files = ['no-such', 'empty', 'big', 'folder'].map((file) => ({ file }));
    for (const secret of [...files, { env: 'NO_SUCH_VAR' }]) {
      await assert.rejects(
        open({ username: 'robot', password: secret }, base),
        (error) =>
          error instanceof Error &&
          /^[^\n]+$/.test(error.message) &&
          /no-such|empty|big|folder|NO_SUCH/.test(error.message),
      );
    }
  });

  for (const wrong of [
    {},
    { username: 'x' },
    { username: 'a:b', password: { env: 'X' } },
    { username: 'x', password: 'plain' },
  ]) {
    test(`refuses ${JSON.stringify(wrong)}`, () =>
      assert.equal(fixed.config.safeParse(wrong).success, false));
  }
});

describe('docker-config', () => {
  const auth = (text: string) => ({ auth: Buffer.from(text).toString('base64') });

  async function open(t: TestContext, config: unknown, clock = new FakeClock()) {
    const base = directory(t);
    const write = (changed: unknown) => writeFileSync(join(base, 'config.json'), JSON.stringify(changed));
    write(config);
    const source = await dockerConfig.open(
      dockerConfig.config.parse({ file: 'config.json' }),
      dependencies(base, clock),
    );
    t.after(() => source.close());
    return { source, base, write };
  }

  test('finds every form of entry, the narrowest first', async (t) => {
    const { source, write } = await open(t, {
      auths: {
        'https://index.docker.io/v1/': auth('hub:a:b'),
        'gcr.io': { username: 'gcr', password: 'pw' },
        'https://Quay.io/v2/': auth('quay:pw'),
        'quay.io/team': auth('team:pw'),
        'localhost:5000': { identitytoken: 'refresh' },
        'token.example.com': { registrytoken: 'raw' },
        'empty.example.com': {},
      },
      HttpHeaders: { a: 'b' },
    });
    const cases = {
      'docker.io/library/alpine': 'hub:a:b',
      'index.docker.io/library/alpine': 'hub:a:b',
      'gcr.io/a/b': 'gcr:pw',
      'quay.io/other/app': 'quay:pw',
      'quay.io/team/app': 'team:pw',
      'quay.io/teams/app': 'quay:pw',
      'localhost:5000/a': 'identity-token refresh',
      'token.example.com/a': 'registry-token raw',
      'empty.example.com/a': undefined,
      'evil-docker.io/a': undefined,
      'gcr.io.evil.com/a': undefined,
      'gcr.io:443/a': undefined,
    };
    for (const [name, expected] of Object.entries(cases))
      assert.equal(await ask(source, name), expected, name);
    write({ auths: { 'gcr.io': auth('new:one') } });
    assert.equal(await ask(source, 'gcr.io/a'), 'new:one');
  });

  test('a broken or missing file is said at start, without quoting it', async (t) => {
    for (const [text, message] of [
      ['{"auths": hunter2', /not JSON/],
      ['{"auths":{"gcr.io":{"auth":"aHVudGVyMg=="}}}', /gcr.io/],
      ['{"credsStore":"../evil"}', /credsStore/],
    ] as const) {
      const base = directory(t);
      writeFileSync(join(base, 'c'), text);
      const config = dockerConfig.config.parse({ file: 'c' });
      await assert.rejects(dockerConfig.open(config, dependencies(base)), (error) => {
        assert.ok(error instanceof Error, 'error instanceof Error');
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      });
    }
    const config = dockerConfig.config.parse({ file: 'missing' });
    await assert.rejects(dockerConfig.open(config, dependencies('/nowhere')), /missing/);
  });

  /** Puts a helper on PATH for one test. */
  function helper(t: TestContext, script: string): string {
    const base = directory(t);
    const path = process.env.PATH;
    writeFileSync(join(base, 'docker-credential-test'), `#!/bin/sh\n${script}\n`);
    chmodSync(join(base, 'docker-credential-test'), 0o755);
    process.env.PATH = `${base}:${path}`;
    t.after(() => {
      process.env.PATH = path;
    });
    return base;
  }

  const answer = (user: string, secret: string) =>
    `printf '{"ServerURL":"x","Username":"%s","Secret":"%s"}' "${user}" "${secret}"`;

  test('asks a helper by its protocol, in a clean environment', async (t) => {
    helper(t, `read s; ${answer('$1 $s', '$SOURCE_LEAK-$HOME')}`);
    process.env.SOURCE_LEAK = 'leaked';
    t.after(() => delete process.env.SOURCE_LEAK);
    const { source } = await open(t, { credHelpers: { 'gcr.io': 'test', 'docker.io': 'test' } });
    assert.equal(await ask(source, 'gcr.io/a'), `get gcr.io:-${process.env.HOME ?? ''}`);
    assert.match((await ask(source, 'docker.io/library/a')) ?? '', /^get https:\/\/index\.docker\.io\/v1\/:/);
  });

  test('says how long an answer of a helper is good for, and asks again each time it is asked', async (t) => {
    helper(t, `cat > /dev/null; echo x >> "$(dirname "$0")/calls"; ${counted}`);
    const clock = new FakeClock();
    const { source } = await open(t, { credsStore: 'test', auths: { 'gcr.io': auth('file:pw') } }, clock);
    const first = await source.credentialFor(repository('gcr.io/a'), { signal });
    assert.equal(shown(first), 'identity-token 1');
    assert.deepEqual([first?.refreshAt, first?.expiresAt], [clock.now() + 60_000, undefined]);
    assert.equal(await ask(source, 'gcr.io/a', first), 'identity-token 2');
  });

  test('what the file itself holds has no end, unless a helper was asked for it in vain', async (t) => {
    helper(t, 'echo "credentials not found in native keychain"; exit 1');
    const clock = new FakeClock();
    const { source } = await open(
      t,
      { credHelpers: { 'gcr.io': 'test' }, auths: { 'gcr.io': auth('a:pw'), 'quay.io': auth('b:pw') } },
      clock,
    );
    const ends = async (name: string) =>
      (await source.credentialFor(repository(name), { signal }))?.refreshAt;
    assert.equal(await ends('quay.io/a'), undefined);
    assert.equal(await ends('gcr.io/a'), clock.now() + 60_000);
  });

  test('names with one key the repositories that get the same', async (t) => {
    helper(t, `read s; ${answer('$1', '$s')}`);
    const { source, write } = await open(t, {
      credHelpers: { 'gcr.io': 'test' },
      auths: { 'quay.io': auth('a:pw'), 'quay.io/team': auth('b:pw'), 'quay.io/team/app': auth('c:pw') },
    });
    const keys = (...names: readonly string[]) =>
      names.map((name) => source.keyFor?.(name.includes('/') ? repository(name) : registry(name)));
    const [other, none, team, app, below] = keys(
      ...['quay.io/other', 'quay.io', 'quay.io/team/x', 'quay.io/team/app', 'quay.io/team/app/x'],
    );
    assert.equal(other, none);
    assert.equal(app, below);
    assert.equal(new Set([other, team, app, ...keys('docker.io/library/a')]).size, 4);
    assert.equal(new Set(keys('gcr.io/a', 'gcr.io/b/c', 'gcr.io')).size, 1);
    assert.equal(new Set(keys('docker.io/a', 'index.docker.io/b', 'registry-1.docker.io/c')).size, 1);
    write({ auths: { 'quay.io': auth('a:pw'), 'quay.io/other': auth('d:pw') } });
    assert.equal(await ask(source, 'quay.io/other'), 'd:pw');
    const [changed, still] = keys('quay.io/other', 'quay.io/team/app');
    assert.notEqual(changed, still);
    assert.equal(still, keys('quay.io')[0]);
  });

  test('where a helper knows nothing the file counts', async (t) => {
    helper(t, 'echo "credentials not found in native keychain"; exit 1');
    const { source } = await open(t, {
      credsStore: 'test',
      auths: { 'gcr.io': auth('file:pw'), 'x.io': {} },
    });
    assert.equal(await ask(source, 'gcr.io/a'), 'file:pw');
    assert.equal(await ask(source, 'x.io/a'), undefined);
  });

  const counted = answer('<token>', '$(wc -l < "$(dirname "$0")/calls" | tr -d " ")');

  const broken = {
    fails: 'echo "hunter2 went wrong"; exit 1',
    'talks nonsense': 'echo hunter2',
    'gives no secret': answer('user', ''),
    'never stops talking': 'while :; do echo hunter2hunter2hunter2hunter2hunter2; done',
  };
  for (const [name, script] of Object.entries(broken)) {
    test(`a helper that ${name} is UNAVAILABLE`, async (t) => {
      helper(t, script);
      const { source } = await open(t, { credsStore: 'test' });
      await assert.rejects(ask(source, 'gcr.io/a'), (error) => {
        assert.ok(error instanceof RegistryError, 'error instanceof RegistryError');
        assert.equal(error.code, 'UNAVAILABLE');
        assert.doesNotMatch(`${error.reason} ${error.cause}`, /hunter2/);
        return true;
      });
    });
  }

  test('a helper that is not there is UNAVAILABLE', async (t) => {
    const { source } = await open(t, { credsStore: 'no-such-helper' });
    await assert.rejects(ask(source, 'gcr.io/a'), { code: 'UNAVAILABLE' });
  });

  test('a helper that hangs ends with the source', async (t) => {
    const base = helper(t, 'sleep 600 & echo $! > "$(dirname "$0")/pid"; wait');
    const { source } = await open(t, { credsStore: 'test' });
    const asked = ask(source, 'gcr.io/a');
    asked.catch(() => {});
    const { existsSync, readFileSync } = await import('node:fs');
    while (!existsSync(join(base, 'pid')) || readFileSync(join(base, 'pid'), 'utf8') === '') {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const pid = Number(readFileSync(join(base, 'pid'), 'utf8'));
    await source.close();
    await assert.rejects(asked, { code: 'UNAVAILABLE' });
    const alive = () => {
      try {
        return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
      } catch {
        return false;
      }
    };
    for (let i = 0; i < 1000 && alive(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(alive(), false, 'what it started ended too');
  });
});
