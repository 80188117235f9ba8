import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
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
import type { Principal } from '../contracts/index.js';
import { type ErrorCode, RegistryError } from '../errors.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import { failureOf, keepsSecret, rejectsWith } from '../testing/conformance/suite.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  passwordCredentials,
} from '../testing/conformance/verifier.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { driver } from './exec.js';

const o = { signal: new AbortController().signal };
const password = 'w0nder:land "ü"';
const alice = passwordCredentials('alice', password);
const yes = `echo '{"principal":{"name":"alice"}}'`;

/** A directory with the program `verify`, and what opens it. */
function setUp(t: TestContext, script: string, interpreter = '/bin/sh') {
  const directory = mkdtempSync(join(tmpdir(), 'exec-'));
  t.after(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));
  const path = (name: string) => join(directory, name);
  const write = (name: string, text: string) => writeFileSync(path(name), text);
  write('verify', `#!${interpreter}\n${script}\n`);
  chmodSync(path('verify'), 0o755);
  const open = async (settings: object = {}) => {
    const clock = new FakeClock();
    const verifier = await driver.open(driver.config.parse({ command: ['./verify'], ...settings }), {
      ...{ id: 'own', baseDirectory: directory, clock, log: new FakeLog(), metrics: new FakeMetrics() },
      state: new MemoryStateStore(clock),
    });
    t.after(() => verifier.close());
    return verifier;
  };
  const read = (name: string) => (existsSync(path(name)) ? readFileSync(path(name), 'utf8') : '');
  return { directory, path, write, read, open };
}

/** Waits for what must come, and fails where it does not. */
async function until(what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (condition()) return;
    await sleep(20);
  }
  assert.fail(`it did not come: ${what}`);
}

/** Files that whoever started this process meant for everything that is started by it; Node's own are not. */
function passedOn(): readonly number[] {
  const closeOnExec = 0o2000000;
  return readdirSync('/proc/self/fdinfo')
    .map(Number)
    .filter((fd) => fd > 2)
    .filter((fd) => {
      const file = `/proc/self/fdinfo/${fd}`;
      const flags = existsSync(file) ? /^flags:\s+(\d+)$/m.exec(readFileSync(file, 'utf8'))?.[1] : undefined;
      return flags !== undefined && (Number.parseInt(flags, 8) & closeOnExec) === 0;
    });
}

/** `R`, `S`, `Z`, … of proc(5); undefined where there is no such process. */
function stateOf(pid: number | string): { readonly state: string; readonly parent: number } | undefined {
  try {
    const [state = '', parent] =
      readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

function isRunning(pid: number): boolean {
  const state = stateOf(pid)?.state ?? 'Z';
  return state !== 'Z' && state !== 'X';
}

const users = `
const { existsSync, readFileSync } = require('node:fs');
if (existsSync('broken')) throw new Error('no database');
const { username, password } = JSON.parse(readFileSync(0, 'utf8'));
const user = JSON.parse(readFileSync('users.json', 'utf8'))[username];
const answer = user === undefined ? { notMine: true }
  : user.password !== password ? { refused: 'wrong password' } : { principal: user.principal };
console.log(JSON.stringify(answer));
`;

describeVerifierConformance(
  'exec',
  async (t) => {
    const { write, open } = setUp(t, users, '/usr/bin/env node');
    const principal = {
      ...{ name: 'Alice@example.com', kind: 'machine', groups: ['developers'] },
      ...{ attributes: { team: 'tea', level: 3, isAdmin: false, sites: ['a', 'b'] } },
    } satisfies Partial<Principal> & { name: string };
    const expiring = { ...principal, expiresAt: '2030-01-01T00:00:00+01:00' };
    write('users.json', JSON.stringify({ alice: { password, principal: expiring } }));
    return {
      verifier: await open(),
      id: 'own',
      valid: [{ credentials: alice, principal: { ...principal, expiresAt: Date.UTC(2029, 11, 31, 23) } }],
      invalid: [passwordCredentials('alice', 'wrong')],
      foreign: [passwordCredentials('bob', password), bearerCredentials('a-token')],
      break: () => write('broken', ''),
    };
  },
  [
    'recheck finds a principal it vouched for, and not one that is gone',
    'recheck is UNAVAILABLE where it cannot find out',
  ],
);

describe('what a program answers', () => {
  const plain: Principal = { verifier: 'own', name: 'alice', kind: 'human', groups: [], attributes: {} };
  const cases: readonly (readonly [script: string, answer: Principal | undefined | [ErrorCode, RegExp]])[] = [
    [yes, plain],
    [`exec 0<&-; ${yes}`, plain],
    [`yes | head -c 3000000 >&2; ${yes}`, plain],
    [`printf '{"principal"'; sleep 0.1; printf ': {"name": "alice"}}'`, plain],
    [`echo '{"notMine":true}'`, undefined],
    [`printf '%s' '{"refused":"locked\\nout"}'`, ['UNAUTHORIZED', /\.\/verify: refused: locked$/]],
    [`echo '{"refused":""}'`, ['UNAUTHORIZED', /refused: without a word$/]],
    [`echo no database >&2; exit 3`, ['UNAVAILABLE', /verify: it ended with 3: no database$/]],
    [`${yes}; exit 1`, ['UNAVAILABLE', /it ended with 1$/]],
    ['kill -9 $$', ['UNAVAILABLE', /a signal ended it$/]],
    ['true', ['UNAVAILABLE', /its answer is none: it is not JSON/]],
    ['echo alice', ['UNAVAILABLE', /not JSON/]],
    [`${yes}${yes.replace('echo', ';echo')}`, ['UNAVAILABLE', /not JSON/]],
    [`printf '{"principal":{"name":"\\377"}}'`, ['UNAVAILABLE', /not JSON in UTF-8/]],
    ['echo null', ['UNAVAILABLE', /expected one of/]],
    ['echo "[]"', ['UNAVAILABLE', /expected one of/]],
    ['echo "{}"', ['UNAVAILABLE', /expected one of/]],
    [`echo '{"toString":true}'`, ['UNAVAILABLE', /expected one of/]],
    [`echo '{"notMine":true,"principal":{"name":"alice"}}'`, ['UNAVAILABLE', /expected one of/]],
    [`echo '{"notMine":false}'`, ['UNAVAILABLE', /notMine: /]],
    [`echo '{"principal":"alice"}'`, ['UNAVAILABLE', /principal: /]],
    [`echo '{"principal":{"name":""}}'`, ['UNAVAILABLE', /principal\.name: /]],
    [
      `echo '{"principal":{"name":"a","group":["b"]}}'`,
      ['UNAVAILABLE', /"group"; expected \{ name, kind, groups/],
    ],
    [`echo '{"principal":{"name":"a","kind":"anonymous"}}'`, ['UNAVAILABLE', /principal\.kind: /]],
    [`echo '{"principal":{"name":"a","verifier":"corp"}}'`, ['UNAVAILABLE', /"verifier"/]],
    [
      `echo '{"principal":{"name":"a","attributes":{"x":{}}}}'`,
      ['UNAVAILABLE', /principal\.attributes\.x: /],
    ],
    [`echo '{"principal":{"name":"a","expiresAt":12}}'`, ['UNAVAILABLE', /principal\.expiresAt: /]],
    ['yes', ['UNAVAILABLE', /it wrote more than 65536 bytes$/]],
    ['head -c 1000000000 /dev/zero', ['UNAVAILABLE', /it wrote more than 65536 bytes$/]],
  ];
  for (const [script, expected] of cases) {
    it(script, async (t) => {
      const verifier = await setUp(t, script).open();
      if (!Array.isArray(expected)) {
        assert.deepEqual(await verifier.verify(alice, o), expected);
        return;
      }
      const [code, reason] = expected;
      const error = await rejectsWith(() => verifier.verify(alice, o), code);
      assert.match(error.reason ?? '', reason);
    });
  }

  const secret = 'w0nderland-9';
  const passwordOf = `sed 's/.*"password":"\\([^"]*\\)".*/\\1/'`;
  for (const [name, script] of [
    ['a complaint', 'cat >&2; exit 1'],
    ['a base64 complaint', `${passwordOf} | tr -d '\\n' | base64 >&2; exit 1`],
    ['a refusal', `printf '{"refused":"not %s"}' "$(${passwordOf})"`],
    ['a misspelt answer', `printf '{"principal":{"name":"alice","%s":1}}' "$(${passwordOf})"`],
    ['an odd attribute', `printf '{"principal":{"name":"alice","attributes":{"%s":{}}}}' "$(${passwordOf})"`],
  ] as const) {
    it(`${name} that holds the password does not carry it on`, async (t) => {
      const verifier = await setUp(t, script).open();
      const error = await failureOf(() => verifier.verify(passwordCredentials('alice', secret), o));
      assert.ok(error instanceof RegistryError && error.reason?.includes('withheld'), String(error));
      keepsSecret(error, secret);
      keepsSecret(error, Buffer.from(secret).toString('base64'));
    });
  }
});

describe('a password of one letter', () => {
  for (const [script, reason, interpreter] of [
    ['exit 3', 'it ended with 3'],
    ['echo no database >&2; exit 3', 'it ended with 3: withheld: it may repeat what was shown'],
    [`echo '{"refused":"locked"}'`, 'refused: withheld: it may repeat what was shown'],
    ['echo alice', 'its answer is none: it is not JSON in UTF-8'],
    ['yes', 'it wrote more than 65536 bytes'],
    [
      yes,
      'it cannot be started: it is not there, or the interpreter in its first line is not',
      '/nonexistent/interpreter',
    ],
  ] as const) {
    it(`leaves our own words whole: ${reason}`, async (t) => {
      const verifier = await setUp(t, script, interpreter).open();
      const error = await failureOf(() => verifier.verify(passwordCredentials('alice', 'a'), o));
      assert.ok(error instanceof RegistryError, String(error));
      assert.match(error.reason ?? '', /^the program \.\/verify: /);
      assert.equal(error.reason?.slice('the program ./verify: '.length), reason);
    });
  }
});

describe('a program', () => {
  it('reads one line of JSON', async (t) => {
    const { open, read } = setUp(t, `cat > request; ${yes}`);
    const verifier = await open({ accepts: ['password', 'bearer'] });
    const common = { apiVersion: 'docker-registry-proxy/v1', kind: 'VerifyRequest', verifier: 'own' };
    await verifier.verify(alice, o);
    assert.match(read('request'), /^[^\n]+\n$/);
    const address = '192.0.2.1';
    assert.deepEqual(JSON.parse(read('request')), { ...common, username: 'alice', password, address });
    await verifier.verify(bearerCredentials('a-token'), o);
    assert.deepEqual(JSON.parse(read('request')), { ...common, token: 'a-token', address });
  });

  it('is not shown what it does not accept, nor an empty password', async (t) => {
    const { open, path } = setUp(t, `touch started; ${yes}`);
    const verifier = await open({ accepts: ['bearer'] });
    assert.equal(await verifier.verify(alice, o), undefined);
    const passwords = await open();
    assert.equal(await passwords.verify(bearerCredentials('a-token'), o), undefined);
    assert.equal(await passwords.verify(passwordCredentials('alice', ''), o), undefined);
    assert.ok(!existsSync(path('started')), 'it was started');
  });

  it('gets its arguments as they are written, and the configuration’s directory', async (t) => {
    const { open, read, directory } = setUp(t, `for one; do echo "$one" >> args; done; pwd > cwd; ${yes}`);
    const args = ['$(touch pwned)', '; touch pwned', '*', '', 'ü "x"'];
    const verifier = await open({ command: ['./verify', ...args] });
    await verifier.verify(alice, o);
    assert.deepEqual(read('args').split('\n').slice(0, -1), args);
    assert.equal(read('cwd'), `${directory}\n`);
    assert.deepEqual(readdirSync(directory).sort(), ['args', 'cwd', 'verify']);
  });

  it('inherits PATH and nothing else: no variable, no open file, no terminal', async (t) => {
    process.env.EXEC_TEST_SECRET = 'of this program';
    t.after(() => delete process.env.EXEC_TEST_SECRET);
    const script = `tr '\\0' '\\n' < /proc/$$/environ > env; ls -l /proc/self/fd > files; ps -o tty= -p $$ > tty; ${yes}`;
    const { open, read, write } = setUp(t, script);
    write('token', 'first\n');
    const verifier = await open({ environment: { LEVEL: '3', TOKEN: { file: 'token' } } });
    await verifier.verify(alice, o);
    const environment = read('env')
      .split('\n')
      .filter((line) => line !== '');
    assert.deepEqual(environment.sort(), ['LEVEL=3', `PATH=${process.env.PATH}`, 'TOKEN=first'].sort());
    const files = [...read('files').matchAll(/ (\d+) -> /g)].map(([, fd]) => Number(fd));
    assert.deepEqual(files.sort(), [0, 1, 2, 3, ...passedOn()].sort()); // 3 is the directory that is listed
    assert.equal(read('tty').trim(), '?');
    write('token', 'another\n');
    await verifier.verify(alice, o);
    assert.match(read('env'), /^TOKEN=another$/m);
  });

  it('leaves no zombie', async (t) => {
    const verifier = await setUp(t, yes).open();
    await Promise.all(Array.from({ length: 6 }, () => verifier.verify(alice, o)));
    const children = readdirSync('/proc').filter((name) => stateOf(name)?.parent === process.pid);
    assert.deepEqual(
      children.filter((pid) => stateOf(pid)?.state === 'Z'),
      [],
    );
  });

  it('that leaves something running has answered, and what it left is killed', async (t) => {
    const { open, read } = setUp(t, `sleep 600 & echo $! > pid; (trap '' TERM; sleep 600) & ${yes}`);
    const found = await (await open()).verify(alice, o);
    assert.equal(found?.name, 'alice');
    await until('the end of what was left', () => !isRunning(Number(read('pid'))));
  });

  for (const [name, script] of [
    ['ignores SIGTERM', `trap '' TERM HUP INT; sleep 600 & echo $! > pid; while :; do sleep 1; done`],
    ['waits for input that does not come', `cat > /dev/null; echo $$ > pid; exec sleep 600`],
    ['has closed its output', `echo $$ > pid; exec sleep 600 >&- 2>&-`],
  ] as const) {
    it(`that takes too long is killed, also where it ${name}`, async (t) => {
      const { open, read } = setUp(t, script);
      const verifier = await open({ timeout: '1s' });
      const error = await rejectsWith(() => verifier.verify(alice, o), 'UNAVAILABLE');
      assert.match(error.reason ?? '', /it took longer than 1000 ms$/);
      await until('its end', () => !isRunning(Number(read('pid'))));
    });
  }

  it('whose output is held open by what has left its group is named', async (t) => {
    const { open, read } = setUp(
      t,
      `setsid sh -c 'echo $$ > pid; exec sleep 600' & until [ -s pid ]; do sleep 0.02; done; ${yes}`,
    );
    const verifier = await open({ timeout: '1s' });
    const error = await rejectsWith(() => verifier.verify(alice, o), 'UNAVAILABLE');
    const pid = Number(read('pid'));
    assert.ok(pid > 1 && isRunning(pid), 'it did not outlive its group');
    process.kill(pid, 'SIGKILL');
    assert.match(error.reason ?? '', /something it started holds its output open$/);
  });

  it('is killed where nobody waits for it any more, or the verifier is closed', async (t) => {
    const { open, read, write } = setUp(t, `sleep 600 & echo $! > pid; wait`);
    const verifier = await open();
    const leaving = new AbortController();
    const answer = failureOf(() => verifier.verify(alice, leaving));
    await until('its start', () => read('pid').endsWith('\n'));
    const reason = new Error('gone');
    leaving.abort(reason);
    assert.equal(await answer, reason);
    await until('its end', () => !isRunning(Number(read('pid'))));

    write('pid', '');
    const second = rejectsWith(() => verifier.verify(alice, o), 'UNAVAILABLE');
    await until('its start', () => read('pid').endsWith('\n'));
    await verifier.close();
    assert.match((await second).reason ?? '', /the verifier is closed$/);
    await until('its end', () => !isRunning(Number(read('pid'))));
  });
});

describe('programs at the same time', () => {
  it('are as many as is configured', async (t) => {
    const script = `echo + >> log; until [ -e go ]; do sleep 0.02; done; echo - >> log; ${yes}`;
    const { open, read, write } = setUp(t, script);
    const verifier = await open({ concurrency: 2 });
    const answers = Array.from({ length: 6 }, () => verifier.verify(alice, o));
    await until('two programs', () => read('log') === '+\n+\n');
    write('go', '');
    assert.ok(
      (await Promise.all(answers)).every((one) => one?.name === 'alice'),
      'not all are accepted',
    );
    let running = 0;
    const counts = [...read('log').replaceAll('\n', '')].map((sign) => (running += sign === '+' ? 1 : -1));
    assert.equal(Math.max(...counts), 2);
    assert.equal(counts.length, 12);
  });

  it('have a line that ends', async (t) => {
    const { open, read } = setUp(t, 'echo + >> log; exec sleep 600');
    const verifier = await open({ concurrency: 1 });
    const leaving = new AbortController();
    setMaxListeners(0, leaving.signal);
    const waiting = Array.from({ length: 101 }, () => failureOf(() => verifier.verify(alice, leaving)));
    const error = await rejectsWith(() => verifier.verify(alice, o), 'TOOMANYREQUESTS');
    assert.match(error.reason ?? '', /too many logins wait for their turn$/);
    await until('the first', () => read('log') === '+\n');
    leaving.abort(new Error('gone'));
    await Promise.all(waiting);
    assert.equal(read('log'), '+\n');
  });

  it('are next for who comes from elsewhere, however many wait', async (t) => {
    const name = `name=$(sed 's/.*"username":"\\([^"]*\\)".*/\\1/')`;
    const script = `${name}; echo $name >> log; until [ -e go-$name ]; do sleep 0.02; done; ${yes}`;
    const { open, read, write } = setUp(t, script);
    const verifier = await open({ concurrency: 1, timeout: '1m' });
    const come = (username: string, address: string) =>
      verifier.verify({ ...passwordCredentials(username, password), connection: { address } }, o).then(
        () => 'in',
        () => 'refused',
      );
    const crowd = Array.from({ length: 112 }, (_, i) => come('crowd', `2001:db8:0:${i % 14}::${i}`));
    await until('the first', () => read('log') === 'crowd\n');
    const alone = [come('alice', '2001:db8:1::1'), come('bob', '192.0.2.1')];
    write('go-crowd', '');
    await until('the second', () => read('log').split('\n').length > 2);
    write('go-alice', '');
    await until('the third', () => read('log').split('\n').length > 3);
    write('go-bob', '');
    const outcomes = await Promise.all([...alone, ...crowd]);
    assert.deepEqual(read('log').split('\n').slice(0, 3), ['crowd', 'alice', 'bob']);
    assert.deepEqual(outcomes.slice(0, 2), ['in', 'in']);
    assert.equal(outcomes.filter((one) => one === 'refused').length, 13); // 114 come, for 101 there is room
  });

  it('keep nobody waiting longer than the time limit', async (t) => {
    const { open } = setUp(t, 'exec sleep 600');
    const verifier = await open({ concurrency: 1, timeout: '500ms' });
    const first = rejectsWith(() => verifier.verify(alice, o), 'UNAVAILABLE');
    const second = await rejectsWith(() => verifier.verify(alice, o), 'TOOMANYREQUESTS');
    assert.match(second.reason ?? '', /a login waited too long for its turn$/);
    await first;
  });
});

describe('opening', () => {
  for (const [command, message] of [
    [['./absent'], /^there is no program .*\/absent$/],
    [['./plain'], /^.*\/plain may not be executed by this user: chmod \+x$/],
    [['./directory'], /^.*\/directory is not a file$/],
  ] as const) {
    it(`refuses ${command}`, async (t) => {
      const { open, write, path } = setUp(t, yes);
      write('plain', yes);
      mkdirSync(path('directory'));
      await assert.rejects(open({ command }), { message });
    });
  }

  for (const settings of [
    {},
    { command: [] },
    { command: './verify' },
    { command: ['./verify', 3] },
    { command: ['./verify', 'a\0b'] },
    { command: ['./verify'], environment: { LEVEL: 3 } },
    { command: ['./verify'], environment: { 'A=B': 'c' } },
    { command: ['./verify'], accepts: [] },
    { command: ['./verify'], accepts: ['none'] },
    { command: ['./verify'], timeout: '2m' },
    { command: ['./verify'], concurrency: 0 },
    { command: ['./verify'], shell: true },
  ]) {
    it(`refuses ${JSON.stringify(settings)}`, () => {
      assert.equal(driver.config.safeParse(settings).success, false);
    });
  }

  it('a program that is taken away later, or whose interpreter is, is UNAVAILABLE', async (t) => {
    const { open, path } = setUp(t, yes, '/nowhere/sh');
    const verifier = await open();
    const missing = /it cannot be started: it is not there, or the interpreter in its first line is not$/;
    const error = await rejectsWith(() => verifier.verify(alice, o), 'UNAVAILABLE');
    assert.match(error.reason ?? '', missing);
    rmSync(path('verify'));
    assert.match((await rejectsWith(() => verifier.verify(alice, o), 'UNAVAILABLE')).reason ?? '', missing);
  });
});
