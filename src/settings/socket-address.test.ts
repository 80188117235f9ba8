import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  parseSocketAddress,
  parseUnixAddress,
  printSocketAddress,
  socketAddress,
  unixAddress,
} from './socket-address.js';

describe('the address of a unix socket', () => {
  const fine: readonly (readonly [string, object])[] = [
    ['unix:///run/x/image.sock', { path: '/run/x/image.sock' }],
    ['unix:///run//x/../image.sock', { path: '/run/image.sock' }],
    [`unix:///${'x'.repeat(106)}`, { path: `/${'x'.repeat(106)}` }],
    ['fd://', { fd: 3 }],
    ['fd://3', { fd: 3 }],
    ['fd://5', { fd: 5 }],
  ];
  for (const [text, address] of fine) {
    test(`${text.slice(0, 40)} is one`, () => {
      const parsed = parseSocketAddress(text);
      assert.deepEqual(parsed, address);
      assert.deepEqual(parsed && parseSocketAddress(printSocketAddress(parsed)), address);
    });
  }

  const refused = [
    '',
    '/run/x.sock',
    'unix://run/x.sock',
    'unix:/run/x.sock',
    'unix:///run/x/',
    'unix:///run/\0x',
    `unix:///${'x'.repeat(107)}`,
    `unix:///${'é'.repeat(60)}`,
    'tcp://127.0.0.1:1',
    'fd://0',
    'fd://1',
    'fd://2',
    'fd://x',
    'fd://-1',
  ];
  for (const text of refused) {
    test(`'${text.slice(0, 40)}' is none`, () => assert.equal(parseSocketAddress(text), undefined));
  }

  test('what is handed over open has no path', () => assert.equal(parseUnixAddress('fd://'), undefined));

  const generic = 'expected unix:///an/absolute/path of at most 107 bytes';
  const mistakes: readonly (readonly [text: unknown, message: string])[] = [
    ['/run/x.sock', 'write unix:///run/x.sock'],
    ['unix://run/x.sock', 'write unix:///run/x.sock'],
    ['unix:/run/x.sock', 'write unix:///run/x.sock'],
    ['unix:///run/x/', `names a directory; ${generic}, such as unix:///run/y.sock`],
    ['x.sock', `${generic}, such as unix:///run/y.sock`],
    ['tcp://127.0.0.1:1', `${generic}, such as unix:///run/y.sock`],
    [undefined, `${generic}, such as unix:///run/y.sock`],
  ];
  for (const [text, message] of mistakes) {
    test(`'${text}': ${message}`, () => {
      assert.equal(unixAddress('unix:///run/y.sock').safeParse(text).error?.issues[0]?.message, message);
    });
  }

  test('a socket to listen at may be one of systemd', () => {
    const message = `${generic}, or fd:// or fd://N for a socket that systemd opens`;
    assert.equal(socketAddress().safeParse('fd://1').error?.issues[0]?.message, message);
  });
});
