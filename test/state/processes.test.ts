import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describeError } from '../../src/errors.js';
import { DirectoryLock } from '../../src/state-stores/directory-lock.js';
import { driver } from '../../src/state-stores/file.js';
import { thisProcess } from '../../src/state-stores/lock-holder.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import type { Order, Report } from './state-process.js';
import { countOf } from './text-of.js';

// One state directory, several processes, some of which are killed.

const script = fileURLToPath(new URL('./state-process.ts', import.meta.url));
const o = { signal: new AbortController().signal };
/** Nobody is taken for dead by watching. */
const patient = { touchEvery: 2_000, lookEvery: 20, looks: Number.POSITIVE_INFINITY };

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'state-processes-'));
  t.after(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }));
  return directory;
}

class StateProcess {
  readonly #child: ChildProcess;

  constructor(t: TestContext) {
    this.#child = fork(script, { execArgv: ['--import', 'tsx'] });
    t.after(() => this.kill());
  }

  /** What it says to an order that ends. */
  async tell(order: Order): Promise<Report> {
    const report = once(this.#child, 'message', { signal: AbortSignal.timeout(60_000) });
    this.send(order);
    return (await report)[0] as Report;
  }

  send(order: Order): void {
    this.#child.send(order);
  }

  onReport(listener: (report: Report) => void): void {
    this.#child.on('message', listener);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

function openStore(directory: string) {
  const log = new FakeLog();
  const dependencies = { id: 'state', baseDirectory: '/', clock: Date, log, metrics: new FakeMetrics() };
  return driver.open(driver.config.parse({ path: directory }), { ...dependencies, access: 'owner' });
}

describe('a state directory', () => {
  test('of a process that lives is refused, with who has it; of one that was killed, taken at once', async (t) => {
    const directory = temporary(t);
    const first = new StateProcess(t);
    assert.deepEqual(await first.tell({ do: 'open', directory }), { done: true });
    await assert.rejects(openStore(directory), (error: Error) => {
      assert.ok(
        error.message.includes(`${directory} is in use by process ${first.pid} on host `),
        error.message,
      );
      assert.match(
        error.message,
        /since \d{4}-\d\d-\d\dT[\d:.]+Z: stop that one, or give this one a directory/,
      );
      return true;
    });
    await first.kill();
    const log = new FakeLog();
    const lock = await DirectoryLock.take(directory, { clock: Date, log }, patient);
    assert.equal(log.at('warn')[0]?.fields.pid, first.pid);
    await lock.release();
  });

  test('is free after a close', async (t) => {
    const directory = temporary(t);
    const first = new StateProcess(t);
    await first.tell({ do: 'open', directory });
    assert.deepEqual(await first.tell({ do: 'close' }), { done: true });
    const lock = await DirectoryLock.take(directory, { clock: Date, log: new FakeLog() }, patient);
    await lock.release();
    assert.deepEqual(readdirSync(directory), []);
  });

  test('of a dead process is taken by exactly one of those who want it', async (t) => {
    const contenders = Array.from({ length: 5 }, () => new StateProcess(t));
    const me = await thisProcess(Date.now());
    for (let round = 0; round < 60; round++) {
      const directory = temporary(t);
      mkdirSync(join(directory, 'lock'));
      // Once what a power cut leaves; then this process before its time: a pid that lives, of another start.
      const gone = round === 0 ? '' : JSON.stringify({ ...me, startTime: '1' });
      writeFileSync(join(directory, 'lock', `dead-${round}`), gone);
      const reports = await Promise.all(contenders.map((one) => one.tell({ do: 'lock', directory })));
      const told = JSON.stringify(reports);
      assert.equal(reports.filter((report) => 'done' in report).length, 1, told);
      for (const report of reports) {
        if ('failed' in report) assert.match(report.failed, / is in use by process \d+ on host /, told);
      }
      const [holder = '', ...others] = readdirSync(join(directory, 'lock'));
      assert.deepEqual(others, [], told);
      const { pid } = JSON.parse(readFileSync(join(directory, 'lock', holder), 'utf8'));
      assert.equal(pid, contenders[reports.findIndex((report) => 'done' in report)]?.pid, told);
      await Promise.all(contenders.map((one) => one.tell({ do: 'close' })));
      assert.deepEqual(readdirSync(directory), [], 'a lock or a leftover');
    }
  });

  test('holds whole entries only, and every one that was acknowledged, whenever its process is killed', async (t) => {
    const round = async () => {
      const directory = temporary(t);
      const writer = new StateProcess(t);
      assert.deepEqual(await writer.tell({ do: 'open', directory }), { done: true });
      const written = new Map<string, number>();
      const begun = new Promise<void>((resolve) => {
        writer.onReport((report) => {
          if (!('written' in report)) return;
          written.set(report.written.key, report.written.count);
          if (written.size === 7) resolve();
        });
      });
      writer.send({ do: 'write for ever' });
      await begun;
      await sleep(Math.random() * 60);
      await writer.kill();
      const log = new FakeLog();
      const store = await openStore(directory);
      const entries = await store.list('', o);
      assert.deepEqual(
        entries.map(({ key }) => key),
        [...written.keys()].sort(),
      );
      for (const { key, value } of entries) {
        const count = countOf(value) ?? assert.fail(`${key} is not whole: ${value.slice(0, 50)}`);
        assert.ok(count >= (written.get(key) ?? 0), `${key}: ${count} is older than what was acknowledged`);
      }
      assert.deepEqual(log.at('error'), []);
      await store.put('key', 'goes on', o);
      await store.close();
      assert.deepEqual(
        readdirSync(directory).filter((name) => !name.endsWith('.json')),
        [],
      );
    };
    for (let batch = 0; batch < 5; batch++) await Promise.all(Array.from({ length: 4 }, round));
  });

  test('that a process lost while it stood still is not written by it any more', async (t) => {
    const directory = temporary(t);
    const log = new FakeLog();
    const store = await driver.open(driver.config.parse({ path: directory }), {
      ...{ id: 'state', baseDirectory: '/', clock: Date, log, metrics: new FakeMetrics() },
      access: 'owner',
    });
    t.after(() => store.close());
    await store.put('key', 'before', o);
    // What another one does that finds it dead.
    const [mine = ''] = readdirSync(join(directory, 'lock'));
    rmSync(join(directory, 'lock', mine));
    const other = new StateProcess(t);
    assert.deepEqual(await other.tell({ do: 'open', directory }), { done: true });
    for (const write of [
      () => store.put('key', 'after', o),
      () => store.compareAndSet('other', undefined, 'after', o),
      () => store.delete('key', o),
    ]) {
      await assert.rejects(write, (error: Error) => {
        assert.match(
          describeError(error),
          /^UNAVAILABLE: cannot write the state in .*not this process's any more/,
        );
        return true;
      });
    }
    assert.equal((await store.get('key', o))?.value, 'before');
    assert.deepEqual(
      (await store.list('', o)).map(({ key }) => key),
      ['key'],
    );
    assert.equal(log.at('error').length, 1, log.text);
    await store.close();
    assert.equal(readdirSync(join(directory, 'lock')).length, 1, "the other one's");
  });
});
