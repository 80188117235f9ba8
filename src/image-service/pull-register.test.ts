import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeClock } from '../testing/fake-clock.js';
import { PullRegister } from './pull-register.js';
import type { PullRequest } from './pull-request.js';

function asked(image: string, more: Partial<PullRequest> = {}): PullRequest {
  return { image, annotations: new Map(), hasOwnCredential: false, ...more };
}

const pod = { namespace: 'shop', name: 'cart-1', uid: 'u-1' };

describe('the register of pulls', () => {
  test('shows a pull from its beginning to its end', () => {
    const clock = new FakeClock();
    const register = new PullRegister({ clock });
    const request = asked('docker.example.com/app:1', { pod });
    const pull = register.begin(request, { rule: 'docker.example.com/**', source: 'aws-identity' });
    const fixed = {
      image: 'docker.example.com/app:1',
      pod,
      rule: 'docker.example.com/**',
      source: 'aws-identity',
      startedAt: '2026-01-01T00:00:00.000Z',
    };
    pull.askingForCredential();
    const asking = {
      ...fixed,
      credential: 'none',
      state: 'asking for a credential',
      attempt: 0,
      duration: 0,
    };
    assert.deepEqual(register.snapshot(), { running: [asking], recent: [] });
    clock.advance(1500);
    pull.pulling('rule');
    pull.progressed({ bytes: 70, layers: { done: 1, total: 3 } });
    const pulling = {
      ...fixed,
      credential: 'rule',
      state: 'pulling',
      attempt: 1,
      duration: 1500,
      bytes: 70,
      layers: { done: 1, total: 3 },
    };
    assert.deepEqual(register.snapshot().running, [pulling]);
    clock.advance(500);
    pull.end({ credential: 'rule', imageRef: 'sha256:1' });
    const end = { state: 'ok', duration: 2000, endedAt: '2026-01-01T00:00:02.000Z', imageRef: 'sha256:1' };
    clock.advance(500);
    assert.deepEqual(register.snapshot(), { running: [], recent: [{ ...pulling, ...end }] });
    assert.equal(register.running, 0);
  });

  test('a new attempt begins from nothing', () => {
    const register = new PullRegister({ clock: new FakeClock() });
    const pull = register.begin(asked('a.test/b'));
    pull.pulling('rule');
    pull.progressed({ bytes: 70, layers: { done: 1, total: 3 } });
    pull.pulling('none');
    const [shown] = register.snapshot().running;
    assert.deepEqual([shown?.attempt, shown?.bytes, shown?.credential], [2, undefined, 'none']);
  });

  test("kubelet's own credential is known from the beginning", () => {
    const register = new PullRegister({ clock: new FakeClock() });
    register.begin(asked('a.test/b', { hasOwnCredential: true }));
    assert.equal(register.snapshot().running[0]?.credential, 'kubelet');
  });

  test('keeps the last hundred that ended, the last first', () => {
    const register = new PullRegister({ clock: new FakeClock() });
    for (let i = 0; i < 130; i++) register.begin(asked(`a.test/b:${i}`)).end({ credential: 'none' });
    const { recent } = register.snapshot();
    assert.deepEqual(
      [recent.length, recent[0]?.image, recent[99]?.image],
      [100, 'a.test/b:129', 'a.test/b:30'],
    );
  });

  test('bounds its texts', () => {
    const register = new PullRegister({ clock: new FakeClock() });
    const long = 'x'.repeat(1e6);
    const names = { namespace: long, name: long, uid: long };
    const pull = register.begin(asked(long, { pod: names }), { rule: long, source: long });
    pull.end({ credential: 'none', imageRef: long, error: `${long}\n${long}` });
    assert.ok(JSON.stringify(register.snapshot()).length < 6000, 'too long');
    assert.ok(!register.snapshot().recent[0]?.error?.includes('\n'), 'two lines');
  });

  test('bounds how many it shows, and counts them all', () => {
    const register = new PullRegister({ clock: new FakeClock() });
    for (let i = 0; i < 1200; i++) register.begin(asked(`a.test/b:${i}`));
    assert.deepEqual([register.snapshot().running.length, register.running], [1000, 1200]);
  });

  test('is idle as soon as nothing runs', async () => {
    const register = new PullRegister({ clock: new FakeClock() });
    await register.whenIdle();
    const [one, two] = [register.begin(asked('a.test/1')), register.begin(asked('a.test/2'))];
    let isIdle = false;
    const waiting = [register.whenIdle(), register.whenIdle()].map((idle) =>
      idle.then(() => {
        isIdle = true;
      }),
    );
    one.end({ credential: 'none' });
    one.end({ credential: 'none' });
    await new Promise(setImmediate);
    assert.equal(isIdle, false);
    assert.equal(register.snapshot().recent.length, 1);
    two.end({ credential: 'none', error: 'no' });
    await Promise.all(waiting);
    assert.equal(isIdle, true);
  });
});
