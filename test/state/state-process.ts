import type { StateStore } from '../../src/contracts/index.js';
import { describeError } from '../../src/errors.js';
import { DirectoryLock } from '../../src/state-stores/directory-lock.js';
import { driver, type FileStateStore } from '../../src/state-stores/file.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { textOf } from './text-of.js';

// A process that does with a state directory what its parent tells it.

export type Order =
  | { readonly do: 'lock'; readonly directory: string }
  | { readonly do: 'open'; readonly directory: string }
  | { readonly do: 'close' }
  /** Until it is killed. */
  | { readonly do: 'write for ever' };

/** `written`: the count of that key is on the disk. */
export type Report =
  | { readonly done: true }
  | { readonly failed: string }
  | { readonly written: { readonly key: string; readonly count: number } };

const o = { signal: new AbortController().signal };
const log = new FakeLog();
let lock: DirectoryLock | undefined;
let store: StateStore | undefined;

async function obey(order: Order): Promise<void> {
  if (order.do === 'lock') lock = await DirectoryLock.take(order.directory, { clock: Date, log });
  if (order.do === 'open') store = await open(order.directory);
  if (order.do === 'close') {
    await lock?.release();
    await store?.close();
  }
  if (order.do === 'write for ever') {
    for (let count = 1; ; count++) {
      const key = `key-${count % 7}`;
      await store?.put(key, textOf(count), o);
      report({ written: { key, count } });
    }
  }
}

function open(directory: string): Promise<FileStateStore | StateStore> {
  const dependencies = { id: 'state', baseDirectory: '/', clock: Date, log, metrics: new FakeMetrics() };
  return driver.open(driver.config.parse({ path: directory }), { ...dependencies, access: 'owner' });
}

function report(what: Report): void {
  process.send?.(what);
}

process.on('message', (order: Order) => {
  obey(order).then(
    () => report({ done: true }),
    (error: unknown) => report({ failed: describeError(error) }),
  );
});
