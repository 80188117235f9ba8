import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clientNetwork, widerNetwork } from './client-network.js';

describe('the network of a client', () => {
  for (const [address, network] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002:ffff:ffff:ffff:ffff', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '192.0.2.1'],
    ['64:ff9b::c000:201', '192.0.2.1'],
    ['64:ff9b:0:0:0:1:c000:201', '64:ff9b:0:0::/64'],
    ['64:ff9b:1::192.0.2.1', '64:ff9b:1:0::/64'],
    ['', ''],
    ['unknown', 'unknown'],
  ] as const) {
    it(`of '${address}' is '${network}'`, () => assert.equal(clientNetwork(address), network));
  }
});

describe('the wider network of a client', () => {
  for (const [address, network] of [
    ['192.0.2.1', '192.0.2.0/24'],
    ['::ffff:192.0.2.254', '192.0.2.0/24'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1::/48'],
    ['2001:db8::1', '2001:db8:0::/48'],
    ['::1', '0:0:0::/48'],
    ['', ''],
    ['unknown', 'unknown'],
  ] as const) {
    it(`of '${address}' is '${network}'`, () => assert.equal(widerNetwork(address), network));
  }
});
