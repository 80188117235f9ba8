import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeMetrics } from '../testing/index.js';
import { GenerationSuccession, type Succeeding } from './generation-succession.js';
import { StoppedError } from './stopped-error.js';

/** Generations of the configurations 'a', 'b', …, and all that is done with them, in order. */
function successionOf() {
  const done: string[] = [];
  const metrics = new FakeMetrics();
  const unused: (() => void)[] = [];
  let adjusting: Promise<unknown> = Promise.resolve();
  const generation = (configuration: string): Succeeding<string> => ({
    configuration,
    keepReady: () => void done.push(`ready ${configuration}`),
    reopenFiles: () => void done.push(`reopen ${configuration}`),
    close: async () => void done.push(`close ${configuration}`),
  });
  const succession = new GenerationSuccession<string, Succeeding<string>>(generation('a'), {
    open: async (configuration) => generation(configuration),
    adjust: async (configuration) => {
      await adjusting;
      if (configuration === 'bad') throw new Error('no such certificate');
      return ['listen'];
    },
    use: async ({ configuration }) => {
      done.push(`use ${configuration}`);
      await new Promise<void>((resolve) => unused.push(resolve));
    },
    metrics,
  });
  return {
    ...{ succession, done },
    inUse: () => metrics.value('configurations_in_use'),
    /** Nothing needs the earlier ones any more. */
    release: async () => {
      for (const resolve of unused.splice(0)) resolve();
      await new Promise(setImmediate);
    },
    /** Reloads wait in `adjust`. @returns lets them go on */
    hold: () => {
      const { promise, resolve } = withResolvers();
      adjusting = promise;
      return resolve;
    },
  };
}

function withResolvers() {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

const drain = async () => {};
const nobody = async () => {};

test('the earlier one is closed when nothing needs it any more, and not before', async () => {
  const { succession, done, inUse, release } = successionOf();
  assert.deepEqual(await succession.reload('b'), ['listen']);
  assert.equal(succession.current.configuration, 'b');
  assert.equal(inUse(), 2);
  succession.reopenFiles();
  assert.deepEqual(done.splice(0), ['use b', 'ready b', 'reopen b', 'reopen a']);
  await release();
  assert.deepEqual(done, ['close a']);
  assert.equal(inUse(), 1);
});

test('one that cannot be taken over is closed, and the earlier one stays', async () => {
  const { succession, done, inUse } = successionOf();
  await assert.rejects(succession.reload('bad'), /no such certificate/);
  assert.equal(succession.current.configuration, 'a');
  assert.deepEqual(done, ['close bad']);
  assert.equal(inUse(), 1);
});

test('a stop closes all of them, once, after the drain', async () => {
  const { succession, done } = successionOf();
  await succession.reload('b');
  done.length = 0;
  const draining = async () => void done.push('drain');
  const stop = () => succession.stop(draining, nobody);
  await Promise.all([stop(), stop()]);
  assert.equal(succession.isStopping, true);
  assert.deepEqual(done, ['drain', 'close a', 'close b']);
});

test('a reload that a stop overtakes closes what it opened, and a later one opens nothing', async () => {
  const { succession, done, hold } = successionOf();
  const release = hold();
  const reload = assert.rejects(succession.reload('b'), StoppedError);
  await new Promise(setImmediate);
  const stopped = succession.stop(drain, nobody);
  await new Promise(setImmediate);
  release();
  await Promise.all([reload, stopped]);
  assert.deepEqual(done, ['close b', 'close a']);
  await assert.rejects(succession.reload('c'), StoppedError);
});
