import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Secret } from '../secret.js';
import { publicMessage } from './public-message.js';

const hidden = {
  host: 'reg.example.com:5000',
  userNames: ['Robot', '', 'AWS'],
  repository: 'priv-acct/deep-name/qa/app',
};

describe('what a client is told in the words of an upstream', () => {
  const told = [
    'the tag is immutable',
    "tag 'v1.2.3' of app is immutable",
    'tag app:2024 exists',
    'quota of 1 GiB used up: 12:34:56',
    'unsupported media type application/vnd.oci.image.manifest.v1+json',
    `blob sha256:${'0123456789abcdef'.repeat(4)} is missing`,
    'it draws a square, and names no aquarium', // `aws` and `qa` within words
    'no token was needed',
    'layers over 10.5 GiB (10737418240) are refused',
    '2.0.1-alpine.12 is no version',
  ];
  for (const message of told) {
    test(`'${message}'`, () => assert.equal(publicMessage(message, hidden), message));
  }

  const kept: Readonly<Record<string, readonly string[]>> = {
    'the host': ['at REG.example.com:5000', 'reg.example.com said no', 'xreg.example.comx'],
    'a component of the name': [
      'priv-acct/deep-name/qa/app is gone',
      'project "Priv-Acct" is full',
      'deep-name/x is broken',
      'gs-artifacts-deep-name-12',
      'the qa project is full',
    ],
    'a user name': ['not for rOBOT', 'aws refuses it'],
    'an address': [
      'blob store at 127.0.0.1 said no',
      'dial tcp 10.0.0.7:9000: refused',
      'at [fe80::1]:9000',
      'at ::1',
      'at 2001:db8:0:0:1:2:3:4',
      'minio.internal:9000 is down',
      'lookup storage-7.prod.example.com: no such host',
      'localhost is down',
    ],
    'a URL': ['ask https://x', 'bucket gs:/artifacts-proj-12', 's3://bucket/key', 'file:///etc'],
    'a secret': [
      'refused; token=abcd',
      'refused; x-amz-Signature=abcd',
      'sig = abcd',
      'access_token: abcd',
      '{"password": "abcd"}',
      'client_secret="abcd"',
      'X-Amz-Credential=abcd',
      'pwd=abcd',
    ],
  };
  for (const [what, messages] of Object.entries(kept)) {
    for (const message of messages) {
      test(`not ${what}: '${message}'`, () => assert.equal(publicMessage(message, hidden), undefined));
    }
  }

  test('the name of an address in brackets', () => {
    const at = { host: '[fd00:1:2:3:4:5:6:7]:5000', userNames: [] };
    assert.equal(publicMessage('FD00:1:2:3:4:5:6:7 is down', at), undefined);
  });

  test('a host of one or two labels', () => {
    for (const host of ['example.com:5000', 'harbor:80', 'harbor']) {
      const name = host.replace(/:.*/, '');
      assert.equal(publicMessage(`${name} is down`, { host, userNames: [] }), undefined);
    }
  });

  test('nothing where nothing is said', () => assert.equal(publicMessage(undefined, hidden), undefined));

  test('not what was shown to it', () => {
    const token = `${'Ab0-_'.repeat(40)}.${'x1~'.repeat(500)}`;
    const bearer = new Secret(`Bearer ${token}`);
    const basic = Buffer.from('bot:pa ss;word').toString('base64');
    const shown = [
      [bearer, `what is ${token}?`],
      [bearer, `invalid header 'Bearer ${token.slice(0, 250)}'`],
      [bearer, `invalid header: …${token.slice(700)}`],
      [new Secret(`Basic ${basic}`), `what is ${basic}`],
      [new Secret(`Basic ${basic}`), 'what is pa ss;word'],
    ] as const;
    for (const [header, message] of shown) {
      assert.equal(publicMessage(message, { host: 'reg', userNames: [], shown: header }), undefined, message);
      assert.notEqual(publicMessage(message, { host: 'reg', userNames: [] }), undefined, message);
    }
    const words = 'the Bearer token says too little for Abracadabra-1.2.3';
    assert.equal(publicMessage(words, { host: 'reg', userNames: [], shown: bearer }), words);
  });

  test('no more than some of a long one', () => {
    assert.equal(publicMessage('x'.repeat(10_000), hidden), `${'x'.repeat(300)}…`);
  });

  test('no beginning of a name either', () => {
    const message = `${'x'.repeat(295)} deep-name`;
    assert.equal(publicMessage(message, hidden), undefined);
  });
});
