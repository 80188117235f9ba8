import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { beforeEach, describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CallOptions, Decision, Principal, RequestContext } from '../contracts/index.js';
import type { Scope } from '../reference/scope.js';
import { RouteTable } from '../routing/route-table.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakePolicy } from '../testing/fake-policy.js';
import { FakeUpstream, upstreamResponse } from '../testing/fake-upstream.js';
import { Catalog, type CatalogWalkLimits } from './catalog.js';
import { readList } from './rewrite.js';

const signal = new AbortController().signal;
const alice: Principal = { verifier: 'local', name: 'alice', kind: 'human', groups: [], attributes: {} };
const anonymous: Principal = { ...alice, verifier: 'anyone', name: 'anonymous', kind: 'anonymous' };

/** Answers when it is told to. */
class SlowPolicy extends FakePolicy {
  readonly waiting: (() => void)[] = [];

  override async decide(
    who: Principal,
    wanted: readonly Scope[],
    request: RequestContext,
    o: CallOptions,
  ): Promise<readonly Decision[]> {
    await new Promise<void>((resolve) => this.waiting.push(resolve));
    return super.decide(who, wanted, request, o);
  }
}

interface Asked {
  readonly who?: Principal;
  readonly address?: string;
  readonly page?: string;
  readonly host?: string;
  readonly signal?: AbortSignal;
}

describe('walks through the catalogue', () => {
  let clock: FakeClock;

  beforeEach(() => {
    clock = new FakeClock();
  });

  function open(policy: FakePolicy, count: number, walks?: CatalogWalkLimits) {
    const names = Array.from({ length: count }, (_, i) => `r${String(i).padStart(6, '0')}`);
    const one = new FakeUpstream(async () =>
      upstreamResponse(200, {}, JSON.stringify({ repositories: names })),
    );
    const upstreams = new Map([['one', one]]);
    const routes = new RouteTable(
      new URL('https://docker.test'),
      [
        { prefix: '', upstream: 'one', rewrite: '', ns: [] },
        { prefix: '', upstream: 'one', rewrite: '', ns: [], host: 'second.test' },
      ],
      upstreams,
    );
    const catalog = new Catalog({ routes, upstreams, policy, clock, ...(walks && { walks }) });
    return async ({ who = alice, address = '192.0.2.1', page = '', host, ...o }: Asked = {}) => {
      const request = { host: routes.hosts.find(host), who, address, page };
      const { body } = await catalog.answer(request, { signal, ...o });
      assert.ok(body !== undefined, 'an answer has a body');
      return (JSON.parse(String(await readList(body))) as { repositories: readonly string[] }).repositories;
    };
  }

  /** Takes its time for each batch, and shows nothing. */
  function busyPolicy(onBatch = () => {}): FakePolicy {
    const policy = new FakePolicy();
    let batch = 0;
    policy.allow = () => {
      if (policy.asked.length === batch) return [];
      batch = policy.asked.length;
      onBatch();
      for (const end = performance.now() + 6; performance.now() < end; );
      return [];
    };
    return policy;
  }

  const namesIn = ({ asked }: FakePolicy) => asked.flatMap(({ wanted }) => wanted.map(({ name }) => name));

  test('others are served between the batches of a long one', async () => {
    const served: number[] = [];
    let turn = 0;
    const ask = open(
      busyPolicy(() => served.push(turn)),
      300,
    );
    const counting = setInterval(() => turn++, 1);
    try {
      assert.deepEqual(await ask(), []);
    } finally {
      clearInterval(counting);
    }
    assert.ok(served.length >= 6, `${served.length} batches`);
    for (const [i, at] of served.entries()) {
      assert.ok(i === 0 || at > (served[i - 1] ?? 0), `nobody was served before batch ${i}: ${served}`);
    }
  });

  test('a name is decided on once, for as long as the list is kept', async () => {
    const policy = new FakePolicy((_who, { name }) => (name.endsWith('7') ? ['pull'] : []));
    const ask = open(policy, 1000);
    const all = Array.from({ length: 100 }, (_, i) => `r${String(i).padStart(5, '0')}7`);
    const tail = await ask({ page: 'last=r000500' });
    assert.deepEqual(tail, all.slice(50));
    assert.deepEqual(await ask(), all);
    assert.deepEqual([namesIn(policy).length, new Set(namesIn(policy)).size], [1000, 1000]);
    for (const page of ['', 'n=7', 'last=r000500', 'last=x', 'n=1000&last=r000100']) await ask({ page });
    clock.advance(29_999);
    assert.deepEqual(await ask({ page: 'n=2&last=r000007' }), all.slice(1, 3));
    assert.equal(namesIn(policy).length, 1000);
    clock.advance(1);
    policy.allow = () => [];
    assert.deepEqual(await ask(), []);
    assert.equal(namesIn(policy).length, 2000);
  });

  for (const [what, asked] of [
    ['another name', { who: { ...alice, name: 'bob' } }],
    ['another verifier', { who: { ...alice, verifier: 'corp' } }],
    ['another kind', { who: { ...alice, kind: 'machine' } }],
    ['other groups', { who: { ...alice, groups: ['x'] } }],
    ['other attributes', { who: { ...alice, attributes: { x: 1 } } }],
    ['another address', { address: '192.0.2.2' }],
    ['another host', { host: 'second.test' }],
  ] as const) {
    test(`what was decided for somebody is not for ${what}`, async () => {
      const policy = new FakePolicy(() => ['pull']);
      const ask = open(policy, 10);
      assert.equal((await ask()).length, 10);
      policy.allow = () => [];
      assert.deepEqual(await ask(asked), []);
      assert.equal((await ask()).length, 10);
    });
  }

  test('what the policy failed to decide is asked again', async () => {
    const policy = new FakePolicy(() => ['pull']);
    const ask = open(policy, 10);
    policy.broken = true;
    await assert.rejects(ask(), { code: 'UNAVAILABLE' });
    policy.broken = false;
    assert.equal((await ask()).length, 10);
  });

  test('one that takes too long is refused, and the next one goes on where it ended', async () => {
    const policy = busyPolicy();
    const ask = open(policy, 260, { atOnce: 2, waiting: 2, ofOne: 2, time: 0 });
    for (let tries = 1; tries <= 5; tries++) {
      await assert.rejects(ask(), { code: 'TOOMANYREQUESTS', retryAfter: 1 });
      assert.equal(namesIn(policy).length, 50 * tries);
    }
    assert.deepEqual(await ask(), []);
    assert.equal(new Set(namesIn(policy)).size, 260);
  });

  test('one whose client leaves ends, and the next one begins', async () => {
    const leaving = new AbortController();
    const policy = busyPolicy(() => leaving.abort(new Error('gone')));
    const ask = open(policy, 500);
    const left = ask({ signal: leaving.signal, address: '192.0.2.2' });
    const next = ask();
    await assert.rejects(left, { message: 'gone' });
    assert.deepEqual(await next, []);
    const ofLeft = policy.asked.filter(({ request }) => request.address === '192.0.2.2');
    assert.deepEqual(
      ofLeft.map(({ wanted }) => wanted.length),
      [50],
    );
  });

  test('so many at once: of one client, of one network where it is anonymous, and of all', {
    timeout: 60_000,
  }, async () => {
    const policy = new SlowPolicy(() => ['pull']);
    const ask = open(policy, 10, { atOnce: 1, waiting: 2, ofOne: 2, time: 10_000 });
    const bob = { ...alice, name: 'bob' };
    const admitted: Promise<readonly string[]>[] = [];
    for (const asked of [
      { who: alice },
      { who: alice, address: '192.0.2.9' },
      { who: anonymous, address: '2001:db8::1' },
      { who: anonymous, address: '2001:db8::2' },
      { who: bob },
    ]) {
      admitted.push(ask(asked));
      await nextTurn();
    }
    for (const asked of [
      { who: alice, address: '192.0.2.77' },
      { who: anonymous, address: '2001:db8::3' },
      { who: anonymous, address: '2001:db8:1::1' },
      { who: { ...bob, verifier: 'corp' } },
    ]) {
      await assert.rejects(ask(asked), { code: 'TOOMANYREQUESTS', retryAfter: 1 });
    }
    for (let ended = 0; ended < admitted.length; ) {
      const [go] = policy.waiting.splice(0, 1);
      if (go !== undefined) ended++;
      go?.();
      await nextTurn();
    }
    for (const names of await Promise.all(admitted)) assert.equal(names.length, 10);
  });
});
