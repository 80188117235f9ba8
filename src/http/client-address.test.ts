import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { describe, test } from 'node:test';
import { AddressRanges } from '../settings/address-range.js';
import { clientAddress } from './client-address.js';

/** The two members that count. */
function request(remoteAddress: string | undefined, forwarded?: string): IncomingMessage {
  const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
  return { socket: { remoteAddress }, headers } as unknown as IncomingMessage;
}

describe('clientAddress', () => {
  const trusted = new AddressRanges(['10.0.0.0/8', '2001:db8::/32']);

  for (const [peer, forwarded, expected] of [
    ['203.0.113.1', undefined, '203.0.113.1'],
    ['203.0.113.1', '198.51.100.1', '203.0.113.1'],
    ['::ffff:203.0.113.1', undefined, '203.0.113.1'],
    ['10.0.0.1', undefined, '10.0.0.1'],
    ['10.0.0.1', '', '10.0.0.1'],
    ['10.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['::ffff:10.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['10.0.0.1', '198.51.100.1, 10.0.0.2', '198.51.100.1'],
    ['10.0.0.1', '203.0.113.9, 198.51.100.1,10.0.0.2', '198.51.100.1'],
    ['10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['10.0.0.1', '198.51.100.1, unknown', '10.0.0.1'],
    ['10.0.0.1', 'unknown, 10.0.0.2', '10.0.0.2'],
    ['10.0.0.1', '198.51.100.1:1234', '198.51.100.1'],
    ['10.0.0.1', '198.51.100.1:1234, 10.0.0.2:80', '198.51.100.1'],
    ['10.0.0.1', '[2001:470::5]:5678', '2001:470::5'],
    ['10.0.0.1', '[2001:470::5]', '2001:470::5'],
    ['10.0.0.1', '[::ffff:198.51.100.1]:80', '198.51.100.1'],
    ['10.0.0.1', '2001:470::5:5678', '2001:470::5:5678'],
    ['10.0.0.1', '198.51.100.1:', '10.0.0.1'],
    ['10.0.0.1', '198.51.100.1:123456', '10.0.0.1'],
    ['10.0.0.1', '[2001:470::5', '10.0.0.1'],
    ['10.0.0.1', '[198.51.100.1]x', '10.0.0.1'],
    ['2001:db8::1', '2001:470::5', '2001:470::5'],
    ['10.0.0.1', ',,,', '10.0.0.1'],
    [undefined, '198.51.100.1', ''],
  ] as const) {
    test(`${peer}, forwarded for ${forwarded}`, () => {
      assert.equal(clientAddress(request(peer, forwarded), trusted), expected);
    });
  }
});
