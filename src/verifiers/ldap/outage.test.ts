import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rejectsWith } from '../../testing/conformance/suite.js';
import { FakeClock } from '../../testing/fake-clock.js';
import { Outage } from './outage.js';

const fails = () => Promise.reject(new Error('no answer'));
const works = async () => 'an answer';

/** Work that ends when it is told to. */
function slowWork() {
  let end = (_failure?: Error): void => {};
  const done = new Promise<string>((resolve, reject) => {
    end = (failure) => (failure === undefined ? resolve('an answer') : reject(failure));
  });
  return { work: () => done, end };
}

function setUp(silence: () => string | undefined = () => 'no answer from x:636') {
  const clock = new FakeClock();
  return { clock, outage: new Outage(clock, silence) };
}

describe('an outage', () => {
  it('begins with a failure, and lets one at a time try', async () => {
    const { clock, outage } = setUp();
    await assert.rejects(outage.run(fails));
    for (let i = 0; i < 3; i++) {
      const { work, end } = slowWork();
      const trial = outage.run(work);
      clock.advance(10_000); // a trial may take long
      const { reason } = await rejectsWith(() => outage.run(works), 'UNAVAILABLE');
      assert.match(reason ?? '', /another login is trying them again \(no answer from x:636\)$/);
      end(new Error('no answer'));
      await assert.rejects(trial, /no answer/);
    }
  });

  it('ends with an answer, and some seconds after the last failure', async () => {
    for (const ending of ['answer', 'time'] as const) {
      const { clock, outage } = setUp();
      await assert.rejects(outage.run(fails));
      if (ending === 'answer') outage.answered();
      else clock.advance(5_000);
      const { work, end } = slowWork();
      const first = outage.run(work);
      assert.equal(await outage.run(works), 'an answer', ending);
      end();
      await first;
    }
  });

  for (const [what, silence, isAnswered] of [
    ['others are answered meanwhile', 'no answer from x:636', true],
    ['a server is left', undefined, false],
  ] as const) {
    it(`is none where ${what}`, async () => {
      const { outage } = setUp(() => silence);
      const failing = slowWork();
      const failed = outage.run(failing.work);
      if (isAnswered) outage.answered();
      failing.end(new Error('no answer'));
      await assert.rejects(failed, /no answer/);
      const { work, end } = slowWork();
      const next = outage.run(work);
      assert.equal(await outage.run(works), 'an answer');
      end();
      await next;
    });
  }
});
