import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PartPool } from './part-pool.js';

/** A part that closes when it is told to. */
class Part {
  isOpen = true;
  #end: (() => void) | undefined;
  readonly #mayClose: Promise<void>;

  constructor(closes: 'at once' | 'later' = 'at once') {
    this.#mayClose =
      closes === 'at once'
        ? Promise.resolve()
        : new Promise((resolve) => {
            this.#end = resolve;
          });
  }

  letClose(): void {
    this.#end?.();
  }

  async close(): Promise<void> {
    await this.#mayClose;
    this.isOpen = false;
  }
}

test('equal keys share one part, which closes with its last user', async () => {
  const pool = new PartPool();
  let opened = 0;
  const open = async () => {
    opened++;
    return new Part();
  };
  const [one, two] = await Promise.all([pool.open('a', open), pool.open('a', open)]);
  const other = await pool.open('b', open);
  assert.equal(opened, 2);
  assert.equal(one.part, two.part);
  assert.notEqual(one.part, other.part);
  assert.equal(pool.size, 2);
  await one.release();
  assert.ok(two.part.isOpen, 'somebody uses it');
  await two.release();
  assert.ok(!two.part.isOpen, 'nobody uses it');
  assert.ok(other.part.isOpen, 'the other one is still used');
  assert.equal(pool.size, 1);
});

test('a part that did not open is opened anew by the next one', async () => {
  const pool = new PartPool();
  const fails = () => Promise.reject(new Error('no'));
  await Promise.all([
    assert.rejects(pool.open('a', fails), /no/),
    assert.rejects(pool.open('a', fails), /no/),
  ]);
  assert.equal(pool.size, 0);
  const lease = await pool.open('a', async () => new Part());
  assert.ok(lease.part.isOpen, 'open');
});

test('a part is not opened while the earlier one of its key is closing', async () => {
  const pool = new PartPool();
  const first = await pool.open('a', async () => new Part('later'));
  const closing = first.release();
  let wasOpen: boolean | undefined;
  const second = pool.open('a', async () => {
    wasOpen = first.part.isOpen;
    return new Part();
  });
  first.part.letClose();
  await closing;
  assert.notEqual((await second).part, first.part);
  assert.equal(wasOpen, false);
});

test('who closes badly is told so, and does not stand in the way of the next one', async () => {
  const pool = new PartPool();
  const bad = await pool.open('a', async () => ({ close: () => Promise.reject(new Error('stuck')) }));
  await assert.rejects(bad.release(), /stuck/);
  assert.equal(pool.size, 0);
  assert.ok((await pool.open('a', async () => new Part())).part.isOpen, 'open');
});
