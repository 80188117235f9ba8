import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { hashSync, verify } from '@node-rs/bcrypt';
import fc from 'fast-check';
import type { ClientCredentials } from '../contracts/index.js';
import { CacheVerifier } from '../decorators/cache-verifier.js';
import { ThrottleVerifier } from '../decorators/throttle-verifier.js';
import { describeError } from '../errors.js';
import { Secret } from '../secret.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import { describeVerifierConformance } from '../testing/conformance/verifier.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { requireProgram } from '../testing/programs.js';
import { driver, HtpasswdVerifier, openUsers, parseHtpasswd } from './htpasswd.js';

const o = { signal: new AbortController().signal };
const hashOf = (password: string, version = '2y', cost = 4) =>
  hashSync(password, cost).replace(/^\$2b\$/, `$${version}$$`);
const alice = `alice:${hashOf('wonderland')}\n`;

function password(username: string, text: string): ClientCredentials {
  return {
    shown: { kind: 'password', username, password: new Secret(text) },
    connection: { address: '192.0.2.1' },
  };
}

function setUp(t: TestContext, text?: string) {
  const directory = mkdtempSync(join(tmpdir(), 'htpasswd-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'users.htpasswd');
  if (text !== undefined) writeFileSync(path, text);
  const log = new FakeLog();
  const clock = new FakeClock();
  const open = async () => {
    const verifier = await driver.open(driver.config.parse({ file: 'users.htpasswd' }), {
      id: 'local',
      baseDirectory: directory,
      clock,
      log,
      metrics: new FakeMetrics(),
      state: new MemoryStateStore(clock),
    });
    t.after(() => verifier.close());
    return verifier;
  };
  return { directory, path, log, open };
}

/** Waits for what must come, and fails where it does not. */
async function until(condition: () => boolean): Promise<void> {
  const limit = AbortSignal.timeout(20_000);
  while (!condition()) {
    limit.throwIfAborted();
    await setImmediate();
  }
}

/** A verifier whose comparisons wait until they are let go. */
function watched(t: TestContext, text: string) {
  const { path, log } = setUp(t, text);
  const compared: { hash: string; finish: (matches: boolean) => void }[] = [];
  let running = 0;
  let most = 0;
  const verifier = new HtpasswdVerifier('local', openUsers(path, log), async (_password, hash) => {
    running++;
    most = Math.max(most, running);
    try {
      return await new Promise<boolean>((finish) => compared.push({ hash: String(hash), finish }));
    } finally {
      running--;
    }
  });
  return {
    verifier,
    compared,
    most: () => most,
    /** Until so many comparisons have begun. */
    async begun(count: number) {
      await until(() => compared.length >= count);
      for (let i = 0; i < 20; i++) await setImmediate(); // were there more, they would begin now
      assert.equal(compared.length, count);
    },
  };
}

describeVerifierConformance(
  'htpasswd',
  async (t) => {
    const { path, open } = setUp(t, `${alice}bob:${hashOf('builder', '2a')}\n`);
    return {
      verifier: await open(),
      id: 'local',
      valid: [
        { credentials: password('alice', 'wonderland'), principal: { name: 'alice', kind: 'human' } },
        { credentials: password('bob', 'builder'), principal: { name: 'bob' } },
      ],
      invalid: [password('alice', 'builder'), password('bob', 'secret-of-bob')],
      foreign: [
        password('mallory', 'wonderland'),
        { shown: { kind: 'bearer', token: new Secret('x') }, connection: { address: '192.0.2.1' } },
      ],
      remove: (name) => writeFileSync(path, name === 'alice' ? `bob:${hashOf('builder')}\n` : alice),
    };
  },
  [
    'where it cannot verify now it is UNAVAILABLE, never undefined',
    'recheck is UNAVAILABLE where it cannot find out',
  ],
);

describe('htpasswd', () => {
  for (const version of ['2a', '2b', '2y'] as const) {
    it(`takes $${version}$`, async (t) => {
      const verifier = await setUp(t, `alice:${hashOf('wonderland', version)}\n`).open();
      const who = await verifier.verify(password('alice', 'wonderland'), o);
      assert.match(who?.credentialVersion ?? '', /^[\w-]{16}$/);
      assert.deepEqual(who, {
        ...{ verifier: 'local', name: 'alice', kind: 'human', groups: [], attributes: {} },
        credentialVersion: who?.credentialVersion,
      });
      for (const wrong of ['wonderlanD', '', 'wonderland ', 'x'.repeat(5000)]) {
        await assert.rejects(verifier.verify(password('alice', wrong), o), {
          code: 'UNAUTHORIZED',
          reason: 'wrong password',
        });
      }
    });
  }

  it('takes what htpasswd -B writes', async (t) => {
    const program = requireProgram(t, 'htpasswd', 'apache2-utils');
    if (program === undefined) return;
    const lines = [
      execFileSync(program, ['-Bbn', '-C', '4', 'alice', 'wonderland'], { encoding: 'utf8' }),
      execFileSync(program, ['-Bbn', '-C', '4', 'bob', 'bücher:x y'], { encoding: 'utf8' }),
    ];
    const verifier = await setUp(t, lines.join('')).open();
    assert.equal((await verifier.verify(password('alice', 'wonderland'), o))?.name, 'alice');
    assert.equal((await verifier.verify(password('bob', 'bücher:x y'), o))?.name, 'bob');
    await assert.rejects(verifier.verify(password('alice', 'bücher:x y'), o), { code: 'UNAUTHORIZED' });
  });

  it('refuses what htpasswd writes with another hash', async (t) => {
    const program = requireProgram(t, 'htpasswd', 'apache2-utils');
    if (program === undefined) return;
    for (const option of ['-m', '-s', '-d', '-p']) {
      const line = execFileSync(program, ['-bn', option, 'bob', 'secret'], {
        encoding: 'utf8',
        stdio: 'pipe',
      });
      assert.throws(() => parseHtpasswd(alice + line), /^Error: line 2: expected a bcrypt hash/);
    }
  });

  it('reads comments, empty lines, Windows line ends and names with anything but a colon', () => {
    const { hashes } = parseHtpasswd(`# users\r\n\r\n${alice.trim()}\r\nBob Müller@x/y: ${hashOf('b')} \n`);
    assert.deepEqual([...hashes.keys()], ['alice', 'Bob Müller@x/y']);
  });

  for (const [name, line] of [
    ['MD5', 'bob:$apr1$QYHPeSHQ$6hr1HbcsE7dDzN8yHGvBa.'],
    ['SHA-1', 'bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ='],
    ['crypt', 'bob:rqXexS6ZhobKA'],
    ['SHA-512', 'bob:$6$saltsalt$abcdefghijklmnop'],
    ['argon2', 'bob:$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA'],
    ['plain text', 'bob:open-sesame'],
    ['nothing', 'bob:'],
    ['a cut bcrypt hash', `bob:${hashOf('x').slice(0, 40)}`],
    ['a bcrypt hash and more', `bob:${hashOf('x')}zz`],
    ['a bcrypt salt with bits too many', `bob:${hashOf('x').replace(/^(.{28})./, '$1z')}`],
    ['a bcrypt hash with bits too many', `bob:${hashOf('x').replace(/.$/, 'z')}`],
    ['bcrypt of PHP’s broken kind', `bob:${hashOf('x').replace('$2y$', '$2x$')}`],
    ['a cost that takes minutes', `bob:${hashOf('x').replace('$04$', '$31$')}`],
    ['a cost under the least', `bob:${hashOf('x').replace('$04$', '$03$')}`],
    ['no colon', 'bob-and-his-secret'],
    ['no name', `:${hashOf('x')}`],
    ['the same user again', alice.trim()],
  ] as const) {
    it(`does not start with ${name}, names the line and shows nothing of it`, async (t) => {
      const { path, open } = setUp(t, `# users\n${alice}\n${line}\n`);
      await assert.rejects(open(), (error) => {
        const said = describeError(error);
        assert(said.startsWith(`cannot read ${path}: line 4: `), said);
        const shown = line.slice(line.indexOf(':') + 1);
        assert(shown === '' || !said.includes(shown), said);
        assert.doesNotMatch(said, /bob|alice/);
        return true;
      });
    });
  }

  it('does not start without its file', async (t) => {
    await assert.rejects(setUp(t).open(), (error) => /^cannot read .*: ENOENT/.test(describeError(error)));
  });

  it('passes on what is no password', async (t) => {
    const verifier = await setUp(t, alice).open();
    const connection = { address: '192.0.2.1' };
    assert.equal(await verifier.verify({ shown: { kind: 'none' }, connection }, o), undefined);
    const bearer = { kind: 'bearer', token: new Secret('x') } as const;
    assert.equal(await verifier.verify({ shown: bearer, connection }, o), undefined);
  });

  it('looks people up without a password', async (t) => {
    const { path, open } = setUp(t, alice);
    const verifier = await open();
    const known = await verifier.verify(password('alice', 'wonderland'), o);
    assert.ok(known, 'known');
    assert.deepEqual(await verifier.recheck?.(known, o), known);
    writeFileSync(path, '');
    assert.equal(await verifier.recheck?.(known, o), undefined);
  });

  it('tells by another credential version that a password was changed', async (t) => {
    const { path, open } = setUp(t, alice);
    const verifier = await open();
    const known = await verifier.verify(password('alice', 'wonderland'), o);
    assert.ok(known, 'known');
    writeFileSync(path, `bob:${hashOf('builder')}\n${alice}`);
    assert.deepEqual(await verifier.recheck?.(known, o), known);
    writeFileSync(path, `alice:${hashOf('wonderland')}\n`); // the same password set again is another one
    const changed = await verifier.recheck?.(known, o);
    assert.equal(changed?.name, 'alice');
    assert.notEqual(changed?.credentialVersion, known.credentialVersion);
  });

  it('warns at start and at a reload of a file without users, and of different costs', async (t) => {
    const { path, log, open } = setUp(t, '# nobody yet\n');
    const verifier = await open();
    const warnings = () => log.at('warn').map(({ message }) => message);
    const empty = 'the users file is empty: nobody can log in';
    assert.deepEqual(warnings(), [empty]);
    writeFileSync(path, `${alice}bob:${hashOf('builder', '2y', 5)}\n`);
    await verifier.verify(password('alice', 'wonderland'), o);
    assert.deepEqual(log.at('info').at(-1)?.fields, { file: path, users: 2 });
    assert.match(warnings()[1] ?? '', /^bcrypt costs differ/);
    assert.deepEqual(log.at('warn')[1]?.fields, { file: path, costs: [4, 5] });
    writeFileSync(path, '');
    assert.equal(await verifier.verify(password('alice', 'wonderland'), o), undefined);
    assert.deepEqual(log.at('info').at(-1)?.fields, { file: path, users: 0 });
    assert.deepEqual(warnings().slice(2), [empty]);
    writeFileSync(path, alice);
    await verifier.verify(password('alice', 'wonderland'), o);
    assert.equal(warnings().length, 3);
  });

  it('parses any text, or names a line', () => {
    const text = fc.string({
      unit: fc.constantFrom('a', ':', '#', '\n', '\r', ' ', hashOf('x'), '$2y$', '04'),
    });
    fc.assert(
      fc.property(fc.oneof(text, fc.string({ unit: 'binary' })), (value) => {
        try {
          parseHtpasswd(value);
        } catch (error) {
          assert.match(String(error), /^Error: line \d+: /);
        }
      }),
    );
  });
});

describe('an unknown user (threat 16)', () => {
  it('is not ours, yet a hash is compared', async (t) => {
    const { verifier, compared, begun } = watched(t, alice);
    const answer = verifier.verify(password('mallory', 'x'), o);
    await begun(1);
    compared[0]?.finish(true); // even the dummy's own password lets nobody in
    assert.equal(await answer, undefined);
  });

  it('costs what the costliest known one costs', async () => {
    const { dummy } = parseHtpasswd(`${alice}bob:${hashOf('x', '2y', 6)}\n`);
    assert.ok(dummy.startsWith('$2b$06$'), "dummy.startsWith('$2b$06$')");
    assert.ok(
      parseHtpasswd(alice).dummy.startsWith('$2b$05$'),
      "parseHtpasswd(alice).dummy.startsWith('$2b$05$')",
    );
    parseHtpasswd(`dummy:${dummy}`); // or bcrypt would refuse it without any work
    assert.equal(await verify('', dummy), false);
  });
});

describe('password hashes', () => {
  it('are compared two at a time, in order', async (t) => {
    const { verifier, compared, most, begun } = watched(t, alice);
    const answers = Array.from({ length: 9 }, () => verifier.verify(password('alice', 'x'), o));
    for (let done = 0; done < answers.length; done++) {
      await begun(Math.min(done + 2, answers.length));
      compared[done]?.finish(true);
      assert.equal((await answers[done])?.name, 'alice');
      // Somebody new at the very moment a turn is given on.
      if (done < 3) answers.push(verifier.verify(password('alice', 'x'), o));
    }
    assert.equal(most(), 2);
    assert.equal(compared.length, 12);
  });

  it('are never more than two with the real bcrypt either, whoever comes when', async (t) => {
    const { path, log } = setUp(t, alice);
    let running = 0;
    let most = 0;
    const verifier = new HtpasswdVerifier('local', openUsers(path, log), async (text, hash) => {
      most = Math.max(most, ++running);
      try {
        return await verify(text, hash);
      } finally {
        running--;
      }
    });
    const client = async () => {
      for (let i = 0; i < 10; i++) {
        await assert.rejects(verifier.verify(password('alice', 'x'), o), { code: 'UNAUTHORIZED' });
      }
    };
    await Promise.all(Array.from({ length: 12 }, client));
    assert.equal(most, 2);
  });

  it('let go who leaves while waiting, and do not lose their turn', async (t) => {
    const { verifier, compared, begun } = watched(t, alice);
    const controllers = Array.from({ length: 5 }, () => new AbortController());
    const answers = controllers.map(({ signal }) =>
      verifier.verify(password('alice', 'x'), { signal }).then(
        () => 'in',
        (error: unknown) => error,
      ),
    );
    await begun(2);
    controllers[2]?.abort('left');
    controllers[3]?.abort('left');
    assert.equal(await answers[2], 'left');
    assert.equal(await answers[3], 'left');
    await begun(2);
    compared[0]?.finish(true);
    await begun(3);
    compared[1]?.finish(true);
    compared[2]?.finish(true);
    assert.deepEqual(await Promise.all(answers), ['in', 'in', 'left', 'left', 'in']);
  });

  it('are not compared for a login that was abandoned, also behind the cache and the throttle', async (t) => {
    const { verifier, compared, begun } = watched(t, alice);
    const clock = new FakeClock();
    const front = new CacheVerifier(new ThrottleVerifier(verifier, clock), clock, {
      accepted: 30_000,
      refused: 0,
    });
    const stays = ['a', 'b'].map((text) => front.verify(password('alice', text), o));
    await begun(2);
    const leaving = new AbortController();
    const left = ['c', 'c', 'd'].map((text) => front.verify(password('alice', text), leaving));
    for (let i = 0; i < 20; i++) await setImmediate();
    leaving.abort(new Error('left'));
    for (const one of left) await assert.rejects(one, /left/);
    stays.push(front.verify(password('alice', 'e'), o));
    for (const i of [0, 1]) compared[i]?.finish(true);
    await begun(3);
    compared[2]?.finish(true);
    for (const one of stays) assert.equal((await one)?.name, 'alice');
    await begun(3);
    await front.close();
  });

  it('let go who leaves while the hash is compared, and keep the turn until it ends', async (t) => {
    const { verifier, compared, begun } = watched(t, alice);
    const leaving = new AbortController();
    const left = verifier.verify(password('alice', 'x'), { signal: leaving.signal });
    const stays = [verifier.verify(password('alice', 'x'), o), verifier.verify(password('alice', 'x'), o)];
    await begun(2);
    leaving.abort(new Error('left'));
    await assert.rejects(left, /left/);
    await begun(2);
    for (const [i] of stays.entries()) compared[i]?.finish(true);
    await begun(3);
    compared[2]?.finish(true);
    assert.deepEqual(
      (await Promise.all(stays)).map((who) => who?.name),
      ['alice', 'alice'],
    );
  });

  it('are next for who comes from elsewhere, however many wait', async (t) => {
    const bobs = hashOf('builder');
    const { verifier, compared, begun } = watched(t, `${alice}bob:${bobs}\n`);
    const known = { verifier: 'local', kind: 'human', groups: [], attributes: {} } as const;
    const come = (username: string, address: string) =>
      verifier.verify({ ...password(username, 'x'), connection: { address } }, o).then(
        () => 'in',
        () => 'refused',
      );
    const crowd = Array.from({ length: 208 }, (_, i) => come('alice', `2001:db8:0:${i % 26}::${i}`));
    await begun(2);
    const bob = come('bob', '2001:db8:1::1');
    // Reads the file as bob's login does, and so is through after that is in the line.
    for (let i = 0; i < 3; i++) await verifier.recheck({ ...known, name: 'bob' });
    await begun(2);
    compared[0]?.finish(true);
    await begun(3);
    assert.equal(compared[2]?.hash, bobs);
    for (let i = 1; i < 202; i++) {
      await until(() => compared[i] !== undefined);
      compared[i]?.finish(true);
    }
    assert.equal(await bob, 'in');
    assert.equal((await Promise.all(crowd)).filter((one) => one === 'refused').length, 7);
  });

  it('refuse who would be the 203rd, until others are through', async (t) => {
    const { verifier, compared, begun } = watched(t, alice);
    const answers = Array.from({ length: 202 }, () => verifier.verify(password('alice', 'x'), o));
    await begun(2);
    await assert.rejects(verifier.verify(password('alice', 'x'), o), {
      code: 'TOOMANYREQUESTS',
      retryAfter: 5,
    });
    compared[0]?.finish(true);
    await answers[0];
    answers.push(verifier.verify(password('alice', 'x'), o));
    for (let i = 1; i < answers.length; i++) {
      await until(() => compared[i] !== undefined);
      compared[i]?.finish(true);
    }
    assert.equal((await Promise.all(answers)).length, 203);
  });
});

describe('a changed file', () => {
  const replacements: Readonly<Record<string, (path: string, text: string) => void>> = {
    'written into': (path, text) => writeFileSync(path, text),
    'renamed over': (path, text) => {
      writeFileSync(`${path}.new`, text);
      renameSync(`${path}.new`, path);
    },
  };
  for (const [name, replace] of Object.entries(replacements)) {
    it(`is read again when it is ${name}`, async (t) => {
      const { path, log, open } = setUp(t, alice);
      const verifier = await open();
      replace(path, `alice:${hashOf('looking-glass')}\nbob:${hashOf('builder')}\n`);
      assert.equal((await verifier.verify(password('bob', 'builder'), o))?.name, 'bob');
      assert.equal((await verifier.verify(password('alice', 'looking-glass'), o))?.name, 'alice');
      await assert.rejects(verifier.verify(password('alice', 'wonderland'), o), { code: 'UNAUTHORIZED' });
      assert.deepEqual(
        log.at('info').map((entry) => entry.message),
        ['users reloaded'],
      );
    });
  }

  it('is read again when a Kubernetes volume swaps its symlink', async (t) => {
    const { directory, open } = setUp(t);
    for (const [version, text] of [
      ['v1', alice],
      ['v2', `bob:${hashOf('builder')}\n`],
    ] as const) {
      mkdirSync(join(directory, version));
      writeFileSync(join(directory, version, 'users.htpasswd'), text);
    }
    symlinkSync('v1', join(directory, '..data'));
    symlinkSync('..data/users.htpasswd', join(directory, 'users.htpasswd'));
    const verifier = await open();
    symlinkSync('v2', join(directory, '..tmp'));
    renameSync(join(directory, '..tmp'), join(directory, '..data'));
    assert.equal((await verifier.verify(password('bob', 'builder'), o))?.name, 'bob');
    assert.equal(await verifier.verify(password('alice', 'wonderland'), o), undefined);
  });

  for (const [name, spoil] of [
    ['bad', (path: string) => writeFileSync(path, `${alice}bob:open-sesame\n`)],
    ['gone', (path: string) => rmSync(path)],
    ['too large', (path: string) => writeFileSync(path, '#'.repeat(4 * 1024 * 1024 + 1))],
  ] as const) {
    it(`that is ${name} leaves the old users, and is told once`, async (t) => {
      const { path, log, open } = setUp(t, alice);
      const verifier = await open();
      spoil(path);
      for (let i = 0; i < 3; i++) {
        assert.equal((await verifier.verify(password('alice', 'wonderland'), o))?.name, 'alice');
      }
      assert.equal(log.at('error').length, 1);
      assert.doesNotMatch(log.text, /open-sesame|\$2y\$0/);
      writeFileSync(path, `bob:${hashOf('builder')}\n`);
      assert.equal((await verifier.verify(password('bob', 'builder'), o))?.name, 'bob');
    });
  }
});
