import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { ClientCredentials, StateStore } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { driver as fileStore } from '../../state-stores/file.js';
import { MemoryStateStore } from '../../state-stores/memory.js';
import { rejectsWith } from '../../testing/conformance/suite.js';
import { FakeClock } from '../../testing/fake-clock.js';
import { FakeLog } from '../../testing/fake-log.js';
import { FakeMetrics } from '../../testing/fake-metrics.js';
import {
  bindingsPrefix,
  digestOf,
  FirstUse,
  type Holder,
  holderByAddress,
  holderByNonce,
  parseBinding,
} from './first-use.js';
import { maxLive } from './live-bindings.js';

const o = { signal: new AbortController().signal };
const hour = 3_600_000;
const subject = '123456789012/i-0abc';
const home: Holder = { kind: 'address', value: '192.0.2.1' };
const thief: Holder = { kind: 'address', value: '198.51.100.7' };

const stores: Readonly<Record<string, (t: TestContext, clock: FakeClock) => Promise<StateStore>>> = {
  memory: async (_t, clock) => new MemoryStateStore(clock),
  file: async (t, clock) => {
    const baseDirectory = mkdtempSync(join(tmpdir(), 'first-use-'));
    t.after(() => rmSync(baseDirectory, { recursive: true, force: true }));
    const store = await fileStore.open(fileStore.config.parse({ path: 'state' }), {
      ...{ id: 'state', baseDirectory, clock, log: new FakeLog(), metrics: new FakeMetrics() },
      access: 'owner',
    });
    t.after(() => store.close());
    return store;
  },
};

for (const [name, openStore] of Object.entries(stores)) {
  describe(`first use, with the ${name} store`, () => {
    async function setUp(t: TestContext) {
      const clock = new FakeClock();
      const state = await openStore(t, clock);
      const bind = (holder: Holder, ttl = hour, mayBeFirst?: () => void, id = 'aws') =>
        new FirstUse(id, state).bind(subject, holder, {
          ...{ ...o, ttl, now: clock.now() },
          ...(mayBeFirst && { mayBeFirst }),
        });
      const entry = () => state.get(`${bindingsPrefix}aws/${subject}`, o);
      return { clock, state, bind, entry };
    }

    it('lets the first one in again and again, and nobody else', async (t) => {
      const { bind, entry, clock } = await setUp(t);
      await bind(home);
      await bind(home);
      const since = new Date(clock.now()).toISOString();
      clock.advance(60_000);
      const error = await rejectsWith(() => bind(thief), 'UNAUTHORIZED');
      assert.equal(
        error.reason,
        `a machine's proof is refused: ${subject} was bound to 192.0.2.1 at its first use (${since}), and is now shown by 198.51.100.7; \`docker-registry-proxy bindings forget\` frees it`,
      );
      assert.deepEqual([error.isProof, error.knownUser], [true, true]);
      await bind(home);
      assert.deepEqual(parseBinding((await entry())?.value ?? ''), {
        holder: home,
        since: Date.parse(since),
      });
    });

    it('asks whether it may be the first at the first use alone', async (t) => {
      const { bind, entry } = await setUp(t);
      let asked = 0;
      const no = () => {
        asked++;
        throw new RegistryError('UNAUTHORIZED', { reason: 'too old' });
      };
      assert.equal((await rejectsWith(() => bind(home, hour, no), 'UNAUTHORIZED')).reason, 'too old');
      assert.equal(await entry(), undefined);
      await bind(home, hour, () => void asked++);
      await bind(home, hour, no);
      assert.equal(asked, 2);
    });

    it('gives it to one of many who come at the same moment', async (t) => {
      const { bind } = await setUp(t);
      const holders = Array.from(
        { length: 6 },
        (_, i): Holder => ({ kind: 'address', value: `192.0.2.${i}` }),
      );
      const outcomes = await Promise.allSettled(holders.flatMap((one) => [bind(one), bind(one)]));
      const winners = new Set(holders.filter((_, i) => outcomes[2 * i]?.status === 'fulfilled'));
      assert.equal(winners.size, 1);
      for (const [i, holder] of holders.entries()) {
        assert.equal(
          outcomes[2 * i + 1]?.status,
          winners.has(holder) ? 'fulfilled' : 'rejected',
          holder.value,
        );
      }
    });

    it('lets one machine come many times at the same moment', async (t) => {
      const { bind, clock } = await setUp(t);
      await Promise.all(Array.from({ length: 30 }, () => bind(home)));
      clock.advance(hour / 2);
      await Promise.all(Array.from({ length: 30 }, () => bind(home)));
    });

    it('ends so long after the last use, which is not written each time', async (t) => {
      const { bind, entry, clock } = await setUp(t);
      await bind(home);
      const first = await entry();
      clock.advance(0.05 * hour);
      await bind(home);
      assert.equal((await entry())?.version, first?.version);
      clock.advance(0.1 * hour);
      await bind(home);
      assert.equal((await entry())?.expiresAt, clock.now() + hour);
      clock.advance(hour - 1);
      await rejectsWith(() => bind(thief), 'UNAUTHORIZED');
      clock.advance(1);
      await bind(thief);
      await rejectsWith(() => bind(home), 'UNAUTHORIZED');
    });

    it('is not made longer by who is refused', async (t) => {
      const { bind, entry, clock } = await setUp(t);
      await bind(home);
      clock.advance(0.5 * hour);
      const before = await entry();
      await rejectsWith(() => bind(thief), 'UNAUTHORIZED');
      assert.deepEqual(await entry(), before);
    });

    it('of one that ends at a fixed time is not written again', async (t) => {
      const { bind, entry, clock } = await setUp(t);
      await bind(home, hour);
      const first = await entry();
      clock.advance(0.9 * hour);
      await bind(home, 0.1 * hour);
      assert.deepEqual(await entry(), first);
    });

    it('tells an address from a nonce, and tells no nonce', async (t) => {
      const { bind, entry } = await setUp(t);
      await bind(holderByNonce('hunter2'));
      await bind(holderByNonce('hunter2'));
      const { value } = holderByNonce('hunter2');
      for (const [other, shownBy] of [
        [holderByNonce('hunter3'), 'another nonce'],
        [home, home.value],
        [{ kind: 'address', value }, value],
      ] as const) {
        const { reason = '' } = await rejectsWith(() => bind(other), 'UNAUTHORIZED');
        assert.match(
          reason,
          new RegExp(`was bound to a nonce at its first use .* is now shown by ${shownBy};`),
        );
      }
      assert.doesNotMatch((await entry())?.value ?? '', /hunter/);
    });

    it('is of one verifier: another has its own', async (t) => {
      const { bind } = await setUp(t);
      await bind(home);
      await bind(thief, hour, undefined, 'aws-2');
    });

    for (const damaged of ['', '{', 'null', '{}', '{"holder":{"kind":"address"},"since":1}', '[]']) {
      it(`is UNAVAILABLE, and not free, where its state is ${damaged || 'empty'}`, async (t) => {
        const { bind, state } = await setUp(t);
        await state.put(`${bindingsPrefix}aws/${subject}`, damaged, o);
        const { reason } = await rejectsWith(() => bind(home), 'UNAVAILABLE');
        assert.equal(reason, `the state of first-use/aws/${subject} is damaged`);
      });
    }

    it('gives one owner so many at the same time, and each further one when one has ended', async (t) => {
      const { clock, state } = await setUp(t);
      const firstUse = new FirstUse('sts', state);
      const credentials = { shown: { kind: 'none' }, connection: { address: '192.0.2.1' } } as const;
      const bind = (nth: number, owner: string, life = hour) => {
        const proof = { digest: `${owner}-${nth}`, who: owner, owner, endsAt: clock.now() + life };
        return firstUse.bindProof(proof, credentials, { ...o, now: clock.now() });
      };
      await bind(0, 'role', hour / 2);
      for (let i = 1; i < maxLive; i++) await bind(i, 'role');
      clock.advance(1_000);
      const error = await rejectsWith(() => bind(maxLive, 'role'), 'TOOMANYREQUESTS');
      assert.equal(error.retryAfter, 1_799);
      assert.match(error.reason ?? '', /^role has shown 500 proofs that still count/);
      assert.equal(await state.get(`${bindingsPrefix}sts/proof/role-${maxLive}`, o), undefined);
      await bind(7, 'role');
      await bind(0, 'other');
      clock.advance(hour / 2);
      await bind(maxLive, 'role');
      await rejectsWith(() => bind(maxLive + 1, 'role'), 'TOOMANYREQUESTS');
    });

    it('stops where nobody waits any more', async (t) => {
      const { state } = await setUp(t);
      const gone = AbortSignal.abort(new Error('gone'));
      const call = { signal: gone, ttl: hour, now: 0 };
      await assert.rejects(new FirstUse('aws', state).bind(subject, home, call), /gone/);
    });
  });
}

describe('first use, with a store that is down', () => {
  const down = () => Promise.reject(new RegistryError('UNAVAILABLE', { reason: 'the disk is gone' }));
  for (const method of ['get', 'compareAndSet'] as const) {
    it(`is UNAVAILABLE where ${method} fails`, async () => {
      const state = new MemoryStateStore(new FakeClock());
      state[method] = down;
      const call = { ...o, ttl: hour, now: 0 };
      const error = await rejectsWith(
        () => new FirstUse('aws', state).bind(subject, home, call),
        'UNAVAILABLE',
      );
      assert.equal(error.reason, 'the disk is gone');
    });
  }

  it('ends where somebody always comes before it', async () => {
    const state = new MemoryStateStore(new FakeClock());
    let tries = 0;
    state.compareAndSet = async () => {
      tries++;
      return false;
    };
    const call = { ...o, ttl: hour, now: 0 };
    const error = await rejectsWith(
      () => new FirstUse('aws', state).bind(subject, home, call),
      'UNAVAILABLE',
    );
    assert.match(error.reason ?? '', /^the binding of 123456789012\/i-0abc changes all the time$/);
    assert.equal(tries, 10);
  });
});

describe('a holder', () => {
  const at = (address: string): ClientCredentials => ({ shown: { kind: 'none' }, connection: { address } });
  for (const [address, value] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
  ] as const) {
    it(`by the address ${address} is ${value}`, () => {
      assert.deepEqual(holderByAddress(at(address)), { kind: 'address', value });
    });
  }
});

describe('the digest of a proof', () => {
  it('is another one for another proof, and may stand in a key', () => {
    assert.equal(digestOf('a'), digestOf('a'));
    assert.notEqual(digestOf('a'), digestOf('b'));
    assert.match(digestOf('a'), /^[A-Za-z0-9_-]{43}$/);
  });
});

describe('a binding', () => {
  const good = { holder: home, since: 1 };
  it('is read as it was written', () => {
    assert.deepEqual(parseBinding(JSON.stringify({ ...good, more: 1 })), good);
  });
  for (const other of [
    { ...good, since: '1' },
    { ...good, holder: null },
    { ...good, holder: 'x' },
    { ...good, holder: { ...home, kind: 'host' } },
    { ...good, holder: { ...home, value: 1 } },
    { since: 1 },
  ]) {
    it(`is not ${JSON.stringify(other)}`, () => assert.equal(parseBinding(JSON.stringify(other)), undefined));
  }
});
