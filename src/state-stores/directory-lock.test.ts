import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../errors.js';
import { FakeLog } from '../testing/fake-log.js';
import { DirectoryInUseError, DirectoryLock } from './directory-lock.js';
import { type LockHolder, lifeOf, thisProcess } from './lock-holder.js';

const quick = { touchEvery: 10, lookEvery: 20, looks: 10 };
/** Nobody is taken for dead by watching. */
const patient = { ...quick, looks: Number.POSITIVE_INFINITY };

function setUp(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'lock-'));
  const log = new FakeLog();
  const taken: DirectoryLock[] = [];
  t.after(async () => {
    for (const lock of taken) await lock.release();
    if (statSync(place, { throwIfNoEntry: false })?.isDirectory()) endWaiting(place);
    rmSync(directory, { recursive: true, force: true });
  });
  const take = async (rhythm = quick) => {
    const lock = await DirectoryLock.take(directory, { clock: Date, log }, rhythm);
    taken.push(lock);
    return lock;
  };
  const place = join(directory, 'lock');
  const plant = (text: string, name = 'other') => {
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, name), text);
    return join(place, name);
  };
  /** Touches it until the test ends, as a holder does that cannot be seen. */
  const keepTouching = (file: string) => {
    let seconds = 1_000;
    const timer = setInterval(() => utimesSync(file, ++seconds, seconds), 10);
    t.after(() => clearInterval(timer));
    return () => clearInterval(timer);
  };
  return { directory, place, log, take, plant, keepTouching };
}

/** Whoever waits for a pipe goes on: a failure must not be a standstill. */
function endWaiting(place: string): void {
  for (const found of readdirSync(place, { withFileTypes: true })) {
    if (!found.isFIFO()) continue;
    closeSync(openSync(join(place, found.name), constants.O_RDWR | constants.O_NONBLOCK));
  }
}

/** A holder that only its file tells of. */
const elsewhere: readonly (readonly [string, (me: LockHolder) => string])[] = [
  ['of another boot or machine', (me) => JSON.stringify({ ...me, bootId: 'another' })],
  ['of another pid namespace', (me) => JSON.stringify({ ...me, pidNamespace: 'pid:[1]' })],
  ['where there is no /proc', ({ pid, host, since }) => JSON.stringify({ pid, host, since })],
  ['that is empty', () => ''],
  ['of another shape', () => '{"pid":"1"}'],
];

describe('the lock of a directory', () => {
  it('is one file in a directory of its own, and is gone after its release', async (t) => {
    const { directory, place, take } = setUp(t);
    const lock = await take();
    const [name = ''] = readdirSync(place);
    assert.deepEqual(readdirSync(directory), ['lock']);
    const { pid, host, since } = JSON.parse(readFileSync(join(place, name), 'utf8'));
    assert.deepEqual([pid, typeof host], [process.pid, 'string']);
    assert.equal(new Date(since).toISOString(), since);
    assert.equal(statSync(join(place, name)).mode & 0o777, 0o600);
    await lock.release();
    await lock.release();
    assert.deepEqual(readdirSync(directory), []);
    await assert.rejects(lock.prove(), /closed/);
  });

  it('is had once in one process, too', async (t) => {
    const { take } = setUp(t);
    const lock = await take();
    await assert.rejects(take(), (error: Error) => {
      assert.ok(error instanceof DirectoryInUseError, error.message);
      assert.match(error.message, /is in use by this process since /);
      return true;
    });
    await lock.release();
    await take();
  });

  it('is touched again and again', async (t) => {
    const { place, take } = setUp(t);
    await take();
    const touched = () => statSync(join(place, readdirSync(place)[0] ?? '')).mtimeMs;
    const before = touched();
    await eventually(() => touched() !== before);
  });

  it('of a process that is dead here is taken at once, and that is told', async (t) => {
    const { place, log, take, plant } = setUp(t);
    const me = await thisProcess(Date.now());
    plant(JSON.stringify({ ...me, startTime: '1' }));
    await (await take(patient)).prove();
    assert.equal(readdirSync(place).length, 1);
    assert.deepEqual(
      log.at('warn').map(({ fields }) => [fields.pid, fields.host]),
      [[me.pid, me.host]],
    );
  });

  for (const [what, textOf] of elsewhere) {
    it(`${what} is refused while it is touched`, async (t) => {
      const { take, plant, keepTouching } = setUp(t);
      keepTouching(plant(textOf(await thisProcess(0))));
      await assert.rejects(take({ ...patient, lookEvery: 50 }), DirectoryInUseError);
    });

    it(`${what} is taken when it is not touched any more`, async (t) => {
      const { place, take, plant } = setUp(t);
      plant(textOf(await thisProcess(0)));
      await (await take()).prove();
      assert.ok(!readdirSync(place).includes('other'), 'the other one is still there');
    });
  }

  it('that is let go while somebody waits for it is his', async (t) => {
    const { place, take, plant } = setUp(t);
    plant('');
    const waiting = take(patient);
    await sleep(50);
    rmSync(place, { recursive: true });
    await (await waiting).prove();
  });

  it('is taken where a crash left it empty, or before it was moved into place', async (t) => {
    const { directory, place, take } = setUp(t);
    mkdirSync(place);
    const leftover = join(directory, 'lock.0f0f.new');
    mkdirSync(leftover);
    writeFileSync(join(leftover, '0f0f'), '');
    await take();
    assert.deepEqual(readdirSync(directory), ['lock']);
  });

  for (const [what, lose] of [
    ['deleted', (place: string) => rmSync(place, { recursive: true })],
    [
      'taken over',
      (place: string) => {
        rmSync(place, { recursive: true });
        mkdirSync(place);
        writeFileSync(join(place, 'other'), '');
      },
    ],
  ] as const) {
    it(`that was ${what} cannot be proved; it is told once, without waiting for a write`, async (t) => {
      const { place, log, take } = setUp(t);
      const lock = await take();
      lose(place);
      await eventually(() => log.at('error').length > 0);
      await assert.rejects(lock.prove(), /the directory is not this process's any more/);
      await sleep(50);
      assert.equal(log.at('error').length, 1, log.text);
      await lock.release();
      assert.equal(readdirSync(join(place, '..')).length, what === 'deleted' ? 0 : 1);
    });
  }

  it('is an error where something else has its name', async (t) => {
    const { directory, place, take } = setUp(t);
    writeFileSync(place, 'notes');
    await assert.rejects(take(), (error) => {
      assert.match(describeError(error), /^cannot lock .*: ENOTDIR/);
      return true;
    });
    assert.deepEqual(readdirSync(directory), ['lock']);
  });

  for (const [what, make] of [
    ['pipes', (path: string) => execFileSync('mkfifo', [path])],
    ['links', (path: string) => symlinkSync('/etc/hostname', path)],
    ['directories', (path: string) => mkdirSync(path)],
  ] as const) {
    it(`is taken where somebody has put ${what} there`, { timeout: 60_000 }, async (t) => {
      const { place, log, take } = setUp(t);
      mkdirSync(place);
      for (let i = 0; i < 6; i++) make(join(place, `odd-${i}`)); // more than libuv has threads
      await (await take(patient)).prove();
      assert.equal(readdirSync(place).length, 1);
      assert.equal(log.at('warn').length, 6, log.text);
    });
  }

  it('that leads elsewhere is an error, and deletes nothing there', async (t) => {
    const { directory, place, take } = setUp(t);
    const elsewhere = join(directory, 'elsewhere');
    mkdirSync(elsewhere);
    writeFileSync(join(elsewhere, 'file'), '');
    symlinkSync('/etc/hostname', join(elsewhere, 'link'));
    symlinkSync(elsewhere, place);
    await assert.rejects(take(), /^Error: cannot lock /);
    assert.deepEqual(readdirSync(elsewhere), ['file', 'link']);
  });

  it('leaves alone what looks like a leftover and leads elsewhere, or holds a directory', async (t) => {
    const { directory, take } = setUp(t);
    const elsewhere = join(directory, 'elsewhere');
    mkdirSync(elsewhere);
    writeFileSync(join(elsewhere, 'file'), '');
    symlinkSync(elsewhere, join(directory, 'lock.0f0f.new'));
    mkdirSync(join(directory, 'lock.1f1f.new', 'inner'), { recursive: true });
    writeFileSync(join(directory, 'lock.1f1f.new', 'inner', 'file'), '');
    await take();
    assert.deepEqual(readdirSync(elsewhere), ['file']);
    assert.deepEqual(readdirSync(join(directory, 'lock.1f1f.new', 'inner')), ['file']);
  });

  it('tells of its holder, and of what is wrong, without control characters', async (t) => {
    const { place, take, plant, keepTouching } = setUp(t);
    const nasty = '\u001b]0;owned\u0007\u001b[2J\nnext line\u009b';
    const me = await thisProcess(Date.now());
    const stop = keepTouching(plant(JSON.stringify({ ...me, bootId: 'another', host: nasty })));
    await assert.rejects(take({ ...patient, lookEvery: 50 }), (error) => {
      assert.ok(error instanceof DirectoryInUseError, 'another error');
      assert.match(error.message, /^[^\p{Cc}]*\?\]0;owned[^\p{Cc}]*$/u);
      return true;
    });
    stop();
    rmSync(join(place, 'other'));
    mkdirSync(join(place, nasty, 'inner'), { recursive: true });
    await assert.rejects(take(), (error) => {
      assert.match(describeError(error), /^cannot lock [^\p{Cc}]*owned[^\p{Cc}]*$/u);
      return true;
    });
  });

  it('is an error where the directory cannot be written', async (t) => {
    const { directory, take } = setUp(t);
    // Mode bits do not stop root; what is gone stops everybody.
    if (process.getuid?.() === 0) rmSync(directory, { recursive: true });
    else chmodSync(directory, 0o500);
    await assert.rejects(take(), (error) => {
      assert.ok(describeError(error).startsWith(`cannot lock ${directory}: `), describeError(error));
      return true;
    });
  });
});

describe('the life of a holder', () => {
  it('is told by its pid and its start, to those who share its kernel and its pid namespace', async (t) => {
    const me = await thisProcess(Date.now());
    if (me.startTime === undefined) return t.skip('there is no /proc');
    for (const [holder, life] of [
      [me, 'alive'],
      [{ ...me, startTime: '1' }, 'dead'],
      [{ ...me, pid: 2 ** 22 + 1 }, 'dead'],
      [{ ...me, bootId: 'another' }, 'unknown'],
      [{ ...me, pidNamespace: 'pid:[1]' }, 'unknown'],
      [{ pid: me.pid, host: me.host, since: me.since }, 'unknown'],
    ] as const) {
      assert.equal(await lifeOf(holder, me), life, JSON.stringify(holder));
    }
    return undefined;
  });
});

async function eventually(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (isSo()) return;
    await sleep(20);
  }
  assert.fail('it did not come about');
}
