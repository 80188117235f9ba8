import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ConnectionCount } from './connection-count.js';

const bounds = { connections: 4, connectionsPerAddress: 2 };

describe('counting connections', () => {
  for (const [what, addresses, refused] of [
    ['few of each address', ['10.0.0.1', '10.0.0.1', '10.0.0.2', '10.0.0.2'], undefined],
    ['too many of one address', ['10.0.0.1', '10.0.0.1', '10.0.0.1'], 'address'],
    ['an IPv4 address in the form of IPv6', ['10.0.0.1', '::ffff:10.0.0.1', '10.0.0.1'], 'address'],
    ['one /64 of IPv6', ['2001:db8::1', '2001:db8::2', '2001:db8:0:0:ffff::3'], 'address'],
    ['another /64 of IPv6', ['2001:db8::1', '2001:db8::2', '2001:db8:0:1::1'], undefined],
    ['too many in all', ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5'], 'connections'],
    ['too many of a trusted address', ['10.9.0.1', '10.9.0.1', '10.9.0.1', '10.9.0.1'], undefined],
    ['too many in all, and trusted', Array.from({ length: 5 }, () => '10.9.0.1'), 'connections'],
  ] as const) {
    test(`${what}: ${refused ?? 'taken'}`, () => {
      const count = new ConnectionCount();
      const isTrusted = (address: string) => address.startsWith('10.9.');
      const taken = addresses.map((address) => count.take(address, bounds, isTrusted));
      const last = taken.pop();
      assert.ok(
        taken.every((one) => typeof one === 'function'),
        'all before are taken',
      );
      assert.equal(typeof last === 'function' ? undefined : last, refused);
    });
  }

  test('a place that is given back is free again', () => {
    const count = new ConnectionCount();
    const take = () => count.take('10.0.0.1', bounds, () => false);
    const [first, second] = [take(), take()];
    assert.equal(take(), 'address');
    assert.ok(typeof first === 'function' && typeof second === 'function', 'both were taken');
    first();
    assert.equal(count.all, 1);
    assert.equal(typeof take(), 'function');
    assert.equal(take(), 'address');
  });
});
