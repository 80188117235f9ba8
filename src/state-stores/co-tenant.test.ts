import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { describeError } from '../errors.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { entryName } from './entry-file.js';
import { driver } from './file.js';
import { StateFiles } from './state-files.js';

// A state directory that others may write: volumes of Kubernetes with `fsGroup`, a forgotten chmod.

const o = { signal: new AbortController().signal };
/** Nobody's on a usual machine. */
const [proxy, other] = [12_345, 54_321];
const isRoot = process.geteuid?.() === 0;
const needsRoot = isRoot ? false : 'only root can be several users';

function setUp(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'co-tenant-'));
  t.after(() => {
    endWaiting(directory);
    rmSync(directory, { recursive: true, force: true });
  });
  const clock = new FakeClock();
  const log = new FakeLog();
  const open = async (access: 'owner' | 'guest' = 'owner') => {
    const dependencies = { id: 'state', baseDirectory: '/', clock, log, metrics: new FakeMetrics() };
    const store = await driver.open(driver.config.parse({ path: directory }), { ...dependencies, access });
    t.after(() => store.close());
    return store;
  };
  const fileOf = (key: string) => join(directory, entryName(key));
  return { directory, clock, log, open, fileOf };
}

/** Runs a step as another user; only root can. */
async function as<T>(uid: number, step: () => Promise<T>): Promise<T> {
  process.seteuid?.(uid);
  try {
    return await step();
  } finally {
    process.seteuid?.(0);
  }
}

/** Whoever waits for a pipe goes on: a failure must not be a standstill. */
function endWaiting(directory: string): void {
  for (const found of readdirSync(directory, { withFileTypes: true })) {
    if (!found.isFIFO()) continue;
    closeSync(openSync(join(directory, found.name), constants.O_RDWR | constants.O_NONBLOCK));
  }
}

function makePipe(path: string): void {
  execFileSync('mkfifo', [path]);
}

function reasons(log: FakeLog): readonly unknown[] {
  return log.at('error').map(({ fields }) => fields.reason);
}

describe('an entry', () => {
  for (const [how, move] of [
    ['moved', renameSync],
    ['linked', linkSync],
    ['copied', (from: string, to: string) => writeFileSync(to, readFileSync(from), { mode: 0o600 })],
  ] as const) {
    it(`that was ${how} to the name of another key does not count, nor is swept`, async (t) => {
      const { open, fileOf, log, clock } = setUp(t);
      const store = await open();
      await store.put('alice', 'hers', { ...o, ttl: 10 });
      await store.put('bob', 'his', o);
      move(fileOf('alice'), fileOf('mallory'));
      assert.equal(await store.get('mallory', o), undefined);
      assert.deepEqual(reasons(log), ['it is the entry of another key']);
      const listed = (await store.list('', o)).map(({ key }) => key);
      assert.deepEqual(listed, how === 'moved' ? ['bob'] : ['alice', 'bob']);
      assert.equal(await store.compareAndSet('mallory', 'a version', 'x', o), false);
      await store.close();
      clock.advance(10);
      await open();
      assert.ok(statSync(fileOf('mallory')).isFile(), 'a damaged entry was swept');
    });
  }

  for (const [what, make] of [
    ['a pipe', makePipe],
    ['a directory', (path: string) => mkdirSync(path)],
    [
      'a link to a pipe',
      (path: string) => {
        makePipe(`${path}.pipe`);
        symlinkSync(`${path}.pipe`, path);
      },
    ],
    [
      'a link to an entry',
      (path: string) => {
        writeFileSync(`${path}.elsewhere`, '{"key":"odd/0","value":"x","version":"x"}', { mode: 0o600 });
        symlinkSync(`${path}.elsewhere`, path);
      },
    ],
    [
      'a socket',
      async (path: string, t: TestContext) => {
        const server = createServer();
        // A name in a working directory, for a socket's is 107 bytes at most.
        const before = process.cwd();
        process.chdir(join(path, '..'));
        await new Promise<void>((resolve) => server.listen(path.slice(-69), resolve));
        process.chdir(before);
        t.after(() => new Promise((resolve) => server.close(resolve)));
      },
    ],
  ] as const) {
    it(`that is ${what} does not count, and holds nobody up`, { timeout: 60_000 }, async (t) => {
      const { open, fileOf, log } = setUp(t);
      const keys = Array.from({ length: 6 }, (_, i) => `odd/${i}`); // more than libuv has threads
      const store = await open();
      await store.put('bob', 'his', o);
      for (const key of keys) await make(fileOf(key), t);
      assert.deepEqual(
        await Promise.all(keys.map((key) => store.get(key, o))),
        keys.map(() => undefined),
      );
      assert.deepEqual(
        reasons(log),
        keys.map(() => 'it is not a regular file'),
      );
      assert.equal((await store.get('bob', o))?.value, 'his');
      assert.equal((await store.list('', o)).length, 1);
      await store.close();
      const again = await open();
      if (what === 'a directory') {
        return assert.rejects(again.put('odd/0', 'x', o), { code: 'UNAVAILABLE' });
      }
      await again.put('odd/0', 'x', o);
      assert.equal((await again.get('odd/0', o))?.value, 'x');
      return undefined;
    });
  }

  it('of the largest value in its longest form counts, and what is larger does not', async (t) => {
    const { open, fileOf, log } = setUp(t);
    const store = await open();
    const value = '\u0000'.repeat(65_536);
    await store.put('"'.repeat(512), value, { ...o, ttl: 1 });
    assert.equal((await store.get('"'.repeat(512), o))?.value, value);
    const entry = JSON.stringify({ key: 'key', value: 'x'.repeat(400_000), version: 'x' });
    writeFileSync(fileOf('key'), entry, { mode: 0o600 });
    assert.equal(await store.get('key', o), undefined);
    assert.deepEqual(reasons(log), ['it is over 400000 bytes']);
  });

  for (const mode of [0o602, 0o666]) {
    it(`of mode ${mode.toString(8)} does not count, which is told at the start, too`, async (t) => {
      const { directory, open, fileOf, log } = setUp(t);
      const store = await open();
      await store.put('key', 'x', { ...o, ttl: 1_000 });
      await store.put('readable', 'x', o);
      chmodSync(fileOf('key'), mode);
      chmodSync(fileOf('readable'), 0o644);
      assert.equal(await store.get('key', o), undefined);
      assert.deepEqual(
        (await store.list('', o)).map(({ key }) => key),
        ['readable'],
      );
      const reason = `its mode, 0${mode.toString(8)}, lets others write it`;
      assert.deepEqual(reasons(log), [reason, reason]);
      await store.close();
      await open();
      const told = log.at('warn').map(({ fields }) => fields);
      assert.deepEqual(told, [{ directory, entries: 1, reason }]);
    });
  }

  it('that another user made does not count, readable or not', { skip: needsRoot }, async (t) => {
    const { directory, open, fileOf, log } = setUp(t);
    chownSync(directory, proxy, proxy);
    await as(proxy, async () => {
      const store = await open();
      await store.put('key', 'x', o);
    });
    const forged = (key: string) => JSON.stringify({ key, value: 'forged', version: 'x' });
    const planted = [
      ['readable', 0o644, other],
      ['unreadable', 0o600, other],
      ["root's", 0o644, 0],
      ["root's-unreadable", 0o600, 0],
    ] as const;
    for (const [key, mode, uid] of planted) {
      writeFileSync(fileOf(key), forged(key), { mode });
      chownSync(fileOf(key), uid, other);
    }
    await as(proxy, async () => {
      const store = await open('guest');
      for (const [key] of planted) assert.equal(await store.get(key, o), undefined, key);
      assert.deepEqual(
        (await store.list('', o)).map(({ key }) => key),
        ['key'],
      );
    });
    assert.deepEqual(reasons(log).slice(0, 4), [
      `it belongs to user ${other}, and the proxy is user ${proxy}`,
      `it belongs to user ${other}, and the proxy is user ${proxy}`,
      `it belongs to user 0, and the proxy is user ${proxy}`,
      `it belongs to user 0, and the proxy is user ${proxy}`,
    ]);
  });

  it('of the user that the proxy was before is told of at the start, once', {
    skip: needsRoot,
  }, async (t) => {
    const { directory, open, fileOf, log } = setUp(t);
    const store = await open();
    for (const key of ['one', 'two', 'three']) await store.put(key, 'x', o);
    await store.close();
    chownSync(directory, proxy, proxy);
    for (const key of ['one', 'two']) chownSync(fileOf(key), other, other);
    chownSync(fileOf('three'), proxy, proxy);
    await as(proxy, async () => {
      const again = await open();
      assert.equal((await again.get('three', o))?.value, 'x');
      await again.close();
    });
    const reason = `it belongs to user ${other}, and the proxy is user ${proxy}`;
    assert.deepEqual(
      log.at('warn').map(({ fields }) => fields),
      [{ directory, entries: 2, reason }],
    );
  });

  it('that would not count is not written: a file system that keeps no owners', async (t) => {
    const { directory, clock, log } = setUp(t);
    const files = new StateFiles(directory, async () => ({ uid: other, gid: other }), clock, log);
    const put = files.write('key', 'x', undefined, async () => undefined);
    await assert.rejects(put, /^Error: what is written there would not count: it belongs to user \d+, and/);
    assert.deepEqual(readdirSync(directory), []);
  });

  it('that is ours and cannot be read now is UNAVAILABLE, and not absent', async (t) => {
    const { directory, open, fileOf } = setUp(t);
    if (isRoot) chownSync(directory, proxy, proxy);
    const check = async () => {
      const store = await open();
      await store.put('key', 'value', o);
      chmodSync(fileOf('key'), 0);
      await assert.rejects(store.get('key', o), { code: 'UNAVAILABLE' });
      await assert.rejects(store.list('', o), { code: 'UNAVAILABLE' });
      await store.close();
    };
    await (isRoot ? as(proxy, check) : check());
  });
});

describe('a directory', () => {
  for (const mode of [0o777, 0o1777, 0o702]) {
    it(`of mode ${mode.toString(8)} is refused, and nothing is put there`, async (t) => {
      const { directory, open } = setUp(t);
      chmodSync(directory, mode);
      for (const access of ['owner', 'guest'] as const) {
        await assert.rejects(open(access), (error) => {
          assert.match(describeError(error), /^every user may write in .* \(mode [0-7]{4}\): .*chmod o-w/);
          return true;
        });
      }
      assert.deepEqual(readdirSync(directory), []);
    });
  }

  for (const [mode, isTold] of [
    [0o700, false],
    [0o755, false],
    [0o770, true],
    [0o2775, true],
    [0o1770, false],
  ] as const) {
    it(`of mode ${mode.toString(8)} is taken, ${isTold ? 'with' : 'without'} a warning`, async (t) => {
      const { directory, open, log } = setUp(t);
      chmodSync(directory, mode);
      await (await open()).put('key', 'x', o);
      const shown = mode.toString(8).padStart(4, '0');
      assert.deepEqual(
        log.at('warn').map(({ fields }) => [fields.directory, fields.mode]),
        isTold ? [[directory, shown]] : [],
      );
    });
  }

  it('of another user is taken, with a warning', { skip: needsRoot }, async (t) => {
    const { directory, open, log } = setUp(t);
    chownSync(directory, other, other);
    await open();
    assert.deepEqual(
      log.at('warn').map(({ fields }) => fields.owner),
      [other],
    );
  });
});

describe('a guest', () => {
  it('that is root reads what the proxy wrote, and is read by it', { skip: needsRoot }, async (t) => {
    const { directory, open } = setUp(t);
    // A volume of root's that a group may write, which the proxy is in.
    chownSync(directory, 0, process.getegid?.() ?? 0);
    chmodSync(directory, 0o770);
    const owner = await as(proxy, async () => {
      const store = await open();
      await store.put('key', 'x', o);
      return store;
    });
    const guest = await open('guest');
    assert.equal((await guest.get('key', o))?.value, 'x');
    await guest.put('revoked', 'x', o);
    await as(proxy, async () => {
      assert.equal((await owner.get('revoked', o))?.value, 'x');
      await owner.close();
    });
  });

  it('that is root does nothing where it cannot tell whose the state is', { skip: needsRoot }, async (t) => {
    const { directory, open, fileOf } = setUp(t);
    await (await open()).put('key', 'x', o);
    chownSync(fileOf('key'), proxy, proxy);
    const before = readdirSync(directory);
    const guest = await open('guest');
    for (const call of [() => guest.list('', o), () => guest.put('key', 'y', o)]) {
      await assert.rejects(call, (error) => {
        const expected = new RegExp(
          `its files belong to several users \\(0, ${proxy}\\): run this as the user`,
        );
        assert.match(describeError(error), expected);
        return true;
      });
    }
    assert.deepEqual(readdirSync(directory), before);
  });

  it('that is neither root nor that user sees and writes nothing', { skip: needsRoot }, async (t) => {
    const { directory, open } = setUp(t);
    await (await open()).put('key', 'x', o);
    chownSync(directory, 0, process.getegid?.() ?? 0);
    chmodSync(directory, 0o770);
    const before = readdirSync(directory);
    await as(other, async () => {
      const guest = await open('guest');
      for (const call of [() => guest.list('', o), () => guest.get('key', o), () => guest.put('a', 'y', o)]) {
        await assert.rejects(call, (error) => {
          const expected = new RegExp(
            `its files belong to user 0, and this process is user ${other}: run it as`,
          );
          assert.match(describeError(error), expected);
          return true;
        });
      }
    });
    assert.deepEqual(readdirSync(directory), before);
  });
});
