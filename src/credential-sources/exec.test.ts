import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Credential, CredentialSource } from '../contracts/index.js';
import { parseRegistryHost } from '../reference/registry-host.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import {
  describeCredentialSourceConformance,
  revealCredential,
} from '../testing/conformance/credential-source.js';
import { failureOf, keepsSecret, rejectsWith } from '../testing/conformance/suite.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { driver } from './exec.js';

const o = { signal: new AbortController().signal };
const secret = 'hunter2-of-the-helper';
const reply = (username = 'robot', value = secret) =>
  `echo '{"ServerURL":"x","Username":"${username}","Secret":"${value}"}'`;

/** A directory with the program `helper`, and what opens it. */
function setUp(t: TestContext, script: string, interpreter = '/bin/sh') {
  const directory = mkdtempSync(join(tmpdir(), 'exec-source-'));
  t.after(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));
  const path = (name: string) => join(directory, name);
  const write = (name: string, text: string) => writeFileSync(path(name), text);
  const read = (name: string) => (existsSync(path(name)) ? readFileSync(path(name), 'utf8') : '');
  write('helper', `#!${interpreter}\n${script}\n`);
  chmodSync(path('helper'), 0o755);
  const clock = new FakeClock();
  const log = new FakeLog();
  const open = async (settings: object = {}) => {
    const base = { command: ['./helper'], protocol: 'docker-credential-helper' };
    const source = await driver.open(driver.config.parse({ ...base, ...settings }), {
      ...{ id: 'hub', baseDirectory: directory, clock, log, metrics: new FakeMetrics() },
    });
    t.after(() => source.close());
    return source;
  };
  return { directory, path, write, read, open, clock, log };
}

/** @param text `host/repository`, or `host/` for the registry as a whole */
function target(text: string) {
  const slash = text.indexOf('/');
  const name = text.slice(slash + 1);
  return {
    registry: parseRegistryHost(text.slice(0, slash)),
    ...(name !== '' && { name: parseRepositoryName(name) }),
  };
}

async function ask(source: CredentialSource, text: string, rejected?: Credential) {
  const credential = await source.credentialFor(target(text), { ...o, ...(rejected && { rejected }) });
  return credential && revealCredential(credential);
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (condition()) return;
    await sleep(20);
  }
  assert.fail(`it did not come: ${what}`);
}

function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** Keeps a secret a file, under the name of its server: what `docker-credential-pass` does, without gpg. */
const storeHelper = `
[ ! -e broken ] || exit 3
[ "$1" = get ] || exit 2
file=store/$(base64 -w0 | tr / _)
[ -e "$file" ] || { echo "credentials not found in native keychain"; exit 1; }
printf '{"ServerURL":"","Username":"robot","Secret":"%s"}\\n' "$(cat "$file")"
`;

describeCredentialSourceConformance('exec, as docker asks', async (t) => {
  const { write, path, open } = setUp(t, storeHelper);
  mkdirSync(path('store'));
  const entry = `store/${Buffer.from('gcr.io').toString('base64').replaceAll('/', '_')}`;
  write(entry, 'first');
  return {
    source: await open(),
    known: { registry: parseRegistryHost('gcr.io'), name: parseRepositoryName('team/app') },
    unknown: { registry: parseRegistryHost('quay.io'), name: parseRepositoryName('team/app') },
    expected: 'robot:first',
    rotate: () => write(entry, 'second'),
    break: () => write('broken', ''),
  };
});

/** Answers what `answer.json` holds; its request is in `request`. */
const provider = `
const fs = require('node:fs');
if (fs.existsSync('broken')) process.exit(3);
fs.appendFileSync('request', fs.readFileSync(0, 'utf8'));
process.stdout.write(fs.readFileSync('answer.json', 'utf8'));
`;

const apiVersion = 'credentialprovider.kubelet.k8s.io/v1';
const answer = (auth: object, more: object = {}) =>
  JSON.stringify({ apiVersion, kind: 'CredentialProviderResponse', cacheKeyType: 'Registry', auth, ...more });
const login = (password: string, username = 'robot') => ({ username, password });

function setUpProvider(t: TestContext) {
  const base = setUp(t, provider, '/usr/bin/env node');
  return { ...base, open: (settings: object = {}) => base.open({ protocol: 'kubelet', ...settings }) };
}

describeCredentialSourceConformance('exec, as kubelet asks', async (t) => {
  const { write, open, clock } = setUpProvider(t);
  const answerWith = (password: string) =>
    write('answer.json', answer({ '*.gcr.io': login(password) }, { cacheDuration: '12h' }));
  answerWith('first');
  return {
    source: await open(),
    known: { registry: parseRegistryHost('eu.gcr.io'), name: parseRepositoryName('team/app') },
    unknown: { registry: parseRegistryHost('gcr.io'), name: parseRepositoryName('team/app') },
    expected: 'robot:first',
    rotate: () => answerWith('second'),
    break: () => write('broken', ''),
    now: () => clock.now(),
  };
});

describe('a docker credential helper', () => {
  it('is asked `get` behind its arguments, and for the registry as docker names it', async (t) => {
    const script = `for one; do echo "$one"; done > args; cat > server; pwd > cwd; ${reply()}`;
    const { open, read, directory } = setUp(t, script);
    const args = ['--profile', '$(touch pwned)', '; touch pwned', '*', ''];
    const source = await open({ command: ['./helper', ...args] });
    for (const [name, server] of [
      ['gcr.io/a', 'gcr.io'],
      ['gcr.io/', 'gcr.io'],
      ['localhost:5000/a', 'localhost:5000'],
      ['docker.io/library/a', 'https://index.docker.io/v1/'],
    ] as const) {
      assert.equal(await ask(source, name), `robot:${secret}`);
      assert.equal(read('server'), server);
    }
    assert.deepEqual(read('args').split('\n').slice(0, -1), [...args, 'get']);
    assert.equal(read('cwd'), `${directory}\n`);
    assert.deepEqual(readdirSync(directory).sort(), ['args', 'cwd', 'helper', 'server']);
  });

  it('is asked for what the configuration says', async (t) => {
    const { open, read } = setUp(t, `cat > server; ${reply()}`);
    const source = await open({ server: 'https://registry.example.com/v2/' });
    await ask(source, 'gcr.io/a');
    assert.equal(read('server'), 'https://registry.example.com/v2/');
    assert.equal(source.keyFor?.(target('gcr.io/a')), source.keyFor?.(target('gcr.io/')));
  });

  it('gives an identity token under the name <token>, for a while', async (t) => {
    const { open, clock } = setUp(t, reply('<token>'));
    const credential = await (await open({ refresh: '2m' })).credentialFor(target('a.azurecr.io/x'), o);
    assert.equal(credential?.kind, 'identity-token');
    assert.deepEqual([credential.refreshAt, credential.expiresAt], [clock.now() + 120_000, undefined]);
    const usual = await (await open()).credentialFor(target('a.azurecr.io/x'), o);
    assert.equal(usual?.refreshAt, clock.now() + 300_000);
    assert.ok(usual, 'no credential');
    keepsSecret(usual, secret);
  });

  it('is one for all repositories of a registry', async (t) => {
    const source = await setUp(t, reply()).open();
    const key = (text: string) => source.keyFor?.(target(text));
    assert.equal(key('gcr.io/a'), key('gcr.io/b/c'));
    assert.equal(key('gcr.io/a'), key('gcr.io/'));
    assert.notEqual(key('gcr.io/a'), key('eu.gcr.io/a'));
  });

  it('has none where it says so', async (t) => {
    const none = `echo "credentials not found in native keychain"; echo ${secret} >&2; exit 1`;
    assert.equal(await ask(await setUp(t, none).open(), 'gcr.io/a'), undefined);
  });

  it('has none where both are empty, as of docker-credential-pass', async (t) => {
    assert.equal(await ask(await setUp(t, reply('', '')).open(), 'gcr.io/a'), undefined);
  });

  for (const [what, script, reason] of [
    ['fails', `echo ${secret}; echo ${secret} >&2; exit 4`, /it failed with exit code 4; run it by hand/],
    ['fails after an answer', `${reply()}; exit 1`, /it failed with exit code 1; run it by hand/],
    ['is ended by a signal', `echo ${secret}; kill -9 $$`, /it was ended by a signal; run it by hand/],
    ['says nothing', 'exit 0', /an answer that is not its protocol$/],
    ['talks nonsense', `echo ${secret}`, /an answer that is not its protocol$/],
    ['gives binary garbage', 'head -c 5000 /dev/urandom', /an answer that is not its protocol$/],
    ['gives an empty secret', reply('robot', ''), /an answer that is not its protocol$/],
    ['gives no user', `echo '{"Secret":"${secret}"}'`, /an answer that is not its protocol$/],
    ['gives too much', `while :; do echo ${secret}; done`, /it wrote more than 65536 bytes$/],
    ['gives megabytes', `${reply()}; yes ${secret} | head -c 3000000`, /it wrote more than 65536 bytes$/],
  ] as const) {
    it(`that ${what} is UNAVAILABLE, and nothing of what it wrote is told`, async (t) => {
      const { open, log } = setUp(t, script);
      const source = await open();
      const error = await rejectsWith(() => ask(source, 'gcr.io/a'), 'UNAVAILABLE');
      assert.match(error.reason ?? '', /^the program \.\/helper: it /);
      assert.match(error.reason ?? '', reason);
      keepsSecret(error, secret);
      assert.ok(!log.text.includes(secret), 'the log has the secret');
    });
  }

  it('that writes megabytes of messages has answered', async (t) => {
    const source = await setUp(t, `yes warning | head -c 3000000 >&2; ${reply()}`).open();
    assert.equal(await ask(source, 'gcr.io/a'), `robot:${secret}`);
  });

  it('inherits PATH and HOME, and nothing else of ours', async (t) => {
    process.env.EXEC_SOURCE_SECRET = 'of this program';
    t.after(() => delete process.env.EXEC_SOURCE_SECRET);
    const { open, read, write } = setUp(t, `tr '\\0' '\\n' < /proc/$$/environ | sort > env; ${reply()}`);
    write('key', 'first\n');
    const source = await open({ environment: { AWS_PROFILE: 'images', KEY: { file: 'key' }, HOME: '/own' } });
    await ask(source, 'gcr.io/a');
    const expected = ['AWS_PROFILE=images', 'HOME=/own', 'KEY=first', `PATH=${process.env.PATH}`, ''];
    assert.equal(read('env'), expected.sort().slice(1).concat('').join('\n'));
    write('key', 'second\n');
    await ask(source, 'gcr.io/a');
    assert.match(read('env'), /^KEY=second$/m);
    await ask(await open(), 'gcr.io/a');
    assert.equal(read('env'), `HOME=${process.env.HOME}\nPATH=${process.env.PATH}\n`);
  });

  for (const [what, script] of [
    ['hangs', 'echo $$ > pid; exec sleep 600'],
    ['ignores SIGTERM', `trap '' TERM HUP INT; sleep 600 & echo $! > pid; while :; do sleep 1; done`],
    ['has answered and waits for a child', `sleep 600 & echo $! > pid; ${reply()}; wait`],
  ] as const) {
    it(`that ${what} is killed after its time, with what it started`, async (t) => {
      const { open, read } = setUp(t, script);
      const source = await open({ timeout: '1s' });
      const error = await rejectsWith(() => ask(source, 'gcr.io/a'), 'UNAVAILABLE');
      assert.match(error.reason ?? '', /it took longer than \d+ ms$/);
      await until('its end', () => !isRunning(Number(read('pid'))));
    });
  }

  it('that leaves something running has answered, and what it left is killed', async (t) => {
    const { open, read } = setUp(t, `sleep 600 & echo $! > pid; ${reply()}`);
    assert.equal(await ask(await open(), 'gcr.io/a'), `robot:${secret}`);
    await until('the end of what was left', () => !isRunning(Number(read('pid'))));
  });

  it('is killed where nobody waits for it any more, or the source is closed', async (t) => {
    const { open, read, write } = setUp(t, 'sleep 600 & echo $! > pid; wait');
    const source = await open();
    const leaving = new AbortController();
    const left = failureOf(() => source.credentialFor(target('gcr.io/a'), leaving));
    await until('its start', () => read('pid').endsWith('\n'));
    const reason = new Error('gone');
    leaving.abort(reason);
    assert.equal(await left, reason);
    await until('its end', () => !isRunning(Number(read('pid'))));

    write('pid', '');
    const asked = rejectsWith(() => ask(source, 'gcr.io/a'), 'UNAVAILABLE');
    await until('its start', () => read('pid').endsWith('\n'));
    await source.close();
    assert.match((await asked).reason ?? '', /the source is closed$/);
    await until('its end', () => !isRunning(Number(read('pid'))));
    await rejectsWith(() => ask(source, 'gcr.io/a'), 'UNAVAILABLE');
  });

  it('runs as often at the same time as is configured', async (t) => {
    const script = `echo + >> log; until [ -e go ]; do sleep 0.02; done; echo - >> log; ${reply()}`;
    const { open, read, write } = setUp(t, script);
    const source = await open({ concurrency: 2 });
    const answers = Array.from({ length: 6 }, () => ask(source, 'gcr.io/a'));
    await until('two programs', () => read('log') === '+\n+\n');
    write('go', '');
    assert.deepEqual(new Set(await Promise.all(answers)), new Set([`robot:${secret}`]));
    let running = 0;
    const counts = [...read('log').replaceAll('\n', '')].map((sign) => (running += sign === '+' ? 1 : -1));
    assert.equal(Math.max(...counts), 2);
    assert.equal(counts.length, 12);
  });

  it('keeps nobody waiting for a turn longer than the time limit', async (t) => {
    const { open, read } = setUp(t, 'echo + >> log; exec sleep 600');
    const source = await open({ concurrency: 1, timeout: '1s' });
    const first = rejectsWith(() => ask(source, 'gcr.io/a'), 'UNAVAILABLE');
    const second = await rejectsWith(() => ask(source, 'gcr.io/b'), 'UNAVAILABLE');
    assert.match(second.reason ?? '', /it (waited 1000 ms for its turn|took longer than \d+ ms)$/);
    await first;
    assert.ok(read('log').length >= 2, 'none was started');
  });
});

describe('a credential provider of kubelet', () => {
  it('reads a request for the image', async (t) => {
    const { open, read, write } = setUpProvider(t);
    write('answer.json', answer({ 'gcr.io': login('pw') }));
    const source = await open({ command: ['./helper', 'get-credentials'] });
    await ask(source, 'gcr.io/team/app');
    await ask(source, 'docker.io/library/alpine');
    await ask(source, 'gcr.io/');
    const requests = read('request').split('\n').slice(0, -1);
    assert.deepEqual(
      requests.map((line) => JSON.parse(line)),
      ['gcr.io/team/app', 'docker.io/library/alpine', 'gcr.io/library/hello-world'].map((image) => ({
        ...{ apiVersion, kind: 'CredentialProviderRequest', image },
      })),
    );
  });

  it('gets the credential of the pattern that kubelet would try first, and the next where that is refused', async (t) => {
    const { open, write } = setUpProvider(t);
    const auth = {
      'r.io': login('registry'),
      'r.io/team': login('team'),
      '*.io': login('all'),
      'x.io/y': login('y'),
    };
    write('answer.json', answer(auth));
    const source = await open();
    assert.equal(await ask(source, 'r.io/team/app'), 'robot:team');
    assert.equal(await ask(source, 'r.io/app'), 'robot:registry');
    assert.equal(await ask(source, 'r.io/'), 'robot:registry');
    assert.equal(await ask(source, 's.io/app'), 'robot:all');
    assert.equal(await ask(source, 's.com/app'), undefined);
    const refused = await source.credentialFor(target('r.io/team/app'), o);
    assert.equal(await ask(source, 'r.io/team/app', refused), 'robot:registry');
    write('answer.json', answer({ 'r.io': login('registry') }));
    const only = await source.credentialFor(target('r.io/app'), o);
    assert.equal(await ask(source, 'r.io/app', only), 'robot:registry');
  });

  for (const [more, ends] of [
    [{ cacheDuration: '12h0m0s' }, { expiresAt: 43_200_000 }],
    [{ cacheDuration: '0s' }, {}],
    [{ cacheDuration: null }, { refreshAt: 300_000 }],
    [{}, { refreshAt: 300_000 }],
  ] as const) {
    it(`has an answer that ends as ${JSON.stringify(more)} says`, async (t) => {
      const { open, write, clock } = setUpProvider(t);
      write('answer.json', answer({ 'gcr.io': login('pw') }, more));
      const credential = await (await open()).credentialFor(target('gcr.io/a'), o);
      const { expiresAt, refreshAt } = credential ?? {};
      const since = (time?: number) => (time === undefined ? undefined : time - clock.now());
      assert.deepEqual(
        { expiresAt: since(expiresAt), refreshAt: since(refreshAt) },
        { expiresAt: undefined, refreshAt: undefined, ...ends },
      );
    });
  }

  it('says which images are alike: each its own until it has answered, then as the answer has it', async (t) => {
    const { open, write } = setUpProvider(t);
    const source = await open();
    const alike = (...texts: readonly string[]) =>
      new Set(texts.map((text) => source.keyFor?.(target(text)))).size;
    const answers = async (cacheKeyType: string, ...keys: readonly string[]) => {
      const auth = Object.fromEntries(keys.map((key) => [key, login('pw')]));
      write('answer.json', answer(auth, { cacheKeyType }));
      await ask(source, 'r.io/a');
    };
    assert.equal(alike('r.io/a', 'r.io/b', 's.io/a', 'r.io/'), 4);
    const whole = source.keyFor?.(target('r.io/'));
    await answers('Registry', 'r.io', '*.io');
    assert.equal(alike('r.io/a', 'r.io/b', 'r.io/', 'r.io/team/x'), 1);
    assert.equal(source.keyFor?.(target('r.io/a')), whole, 'what was asked for the registry serves all');
    assert.equal(alike('r.io/a', 's.io/a'), 2);
    await answers('Global', '*.io');
    assert.equal(alike('r.io/a', 'r.io/b/c', 'r.io/'), 1);
    await answers('Image', '*.io');
    assert.equal(alike('r.io/a', 'r.io/b'), 2);
    await answers('Registry', 'r.io', 'r.io/team');
    assert.equal(alike('r.io/a', 'r.io/b', 'r.io/'), 1);
    assert.equal(alike('r.io/team/a', 'r.io/team/b'), 1);
    assert.equal(alike('r.io/a', 'r.io/team/a'), 2, 'they get other credentials');
    await answers('Registry', 'r.io/team');
    assert.equal(alike('r.io/a', 'r.io/team/a', 'r.io/team/b'), 2, 'one gets none');
  });

  for (const [what, text] of [
    ['talks nonsense', secret],
    ['speaks another version', answer({ 'gcr.io': login(secret) }, { apiVersion: `${apiVersion}beta1` })],
    ['has no cacheKeyType', answer({ 'gcr.io': login(secret) }, { cacheKeyType: secret })],
    ['has a pattern without a login', answer({ [secret]: secret })],
  ] as const) {
    it(`that ${what} is UNAVAILABLE, and nothing of what it wrote is told`, async (t) => {
      const { open, write } = setUpProvider(t);
      write('answer.json', text);
      const source = await open();
      const error = await rejectsWith(() => ask(source, 'gcr.io/a'), 'UNAVAILABLE');
      assert.match(error.reason ?? '', /^the program \.\/helper: it /);
      keepsSecret(error, secret);
    });
  }

  it('that fails is UNAVAILABLE', async (t) => {
    const source = await setUp(t, `echo ${secret} >&2; exit 1`).open({ protocol: 'kubelet' });
    const error = await rejectsWith(() => ask(source, 'gcr.io/a'), 'UNAVAILABLE');
    assert.match(error.reason ?? '', /it failed with exit code 1; run it by hand to see what it says$/);
    keepsSecret(error, secret);
  });
});

describe('opening', () => {
  for (const [command, message] of [
    [['./absent'], /^there is no program .*\/absent$/],
    [['./plain'], /^.*\/plain may not be executed by this user: chmod \+x$/],
    [['./directory'], /^.*\/directory is not a file$/],
  ] as const) {
    it(`refuses ${command}`, async (t) => {
      const { open, write, path } = setUp(t, reply());
      write('plain', reply());
      mkdirSync(path('directory'));
      await assert.rejects(open({ command }), { message });
    });
  }

  it('refuses a secret for the environment that is not there', async (t) => {
    const { open } = setUp(t, reply());
    await assert.rejects(open({ environment: { KEY: { file: 'absent' } } }), /absent/);
  });

  it('a program that is taken away later, or whose interpreter is, is UNAVAILABLE', async (t) => {
    const { open, path } = setUp(t, reply(), '/nowhere/sh');
    const source = await open();
    const missing = /it cannot be started: it is not there, or the interpreter in its first line is not$/;
    assert.match((await rejectsWith(() => ask(source, 'gcr.io/a'), 'UNAVAILABLE')).reason ?? '', missing);
    rmSync(path('helper'));
    assert.match((await rejectsWith(() => ask(source, 'gcr.io/a'), 'UNAVAILABLE')).reason ?? '', missing);
  });

  const good = { command: ['./helper'], protocol: 'kubelet' };
  for (const settings of [
    {},
    { command: ['./helper'] },
    { ...good, command: './helper' },
    { ...good, command: [] },
    { ...good, command: ['./helper', 'a\0b'] },
    { ...good, protocol: 'docker' },
    { ...good, server: 'gcr.io' },
    { ...good, protocol: 'docker-credential-helper', server: 'gcr.io\nquay.io' },
    { ...good, environment: { 'A=B': 'c' } },
    { ...good, refresh: '0s' },
    { ...good, timeout: '2m' },
    { ...good, concurrency: 0 },
    { ...good, shell: true },
  ]) {
    it(`refuses ${JSON.stringify(settings)}`, () => {
      assert.equal(driver.config.safeParse(settings).success, false);
    });
  }
});
