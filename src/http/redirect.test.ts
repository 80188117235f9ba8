import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ServedHosts } from '../routing/served-host.js';
import { Listener } from './listener.js';
import { RawConnection } from './raw-connection.test.js';
import { redirectHandler } from './redirect.js';

const usual = new ServedHosts(new URL('https://docker.test'), ['other.test', 'third.test:8443']);
const onPort = new ServedHosts(new URL('https://docker.test:5443'), ['other.test']);

describe('redirecting to https', () => {
  let hosts = usual;
  let listener: Listener;
  before(async () => {
    listener = await Listener.open({
      host: '127.0.0.1',
      port: 0,
      name: 'redirect',
      handle: redirectHandler(() => hosts),
    });
  });
  after(() => listener.drain(0));

  async function ask(first: string, host: string, more = '') {
    const head = `${first} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
    const connection = new RawConnection(listener, head);
    await connection.closed;
    const [lines = '', ...after] = connection.text.split('\r\n\r\n');
    const [start = '', ...fields] = lines.split('\r\n');
    const headers = new Map(fields.map((line) => line.split(/: (.*)/, 2) as [string, string]));
    return { status: Number(start.split(' ')[1]), headers, body: after.join('\r\n\r\n') };
  }

  for (const [what, served, first, host, location] of [
    ['a path', usual, 'GET /v2/a/manifests/1', 'docker.test', 'https://docker.test/v2/a/manifests/1'],
    [
      'a query',
      usual,
      'GET /v2/?ns=docker.io&a=%0d%0a',
      'docker.test',
      'https://docker.test/v2/?ns=docker.io&a=%0d%0a',
    ],
    ['another method', usual, 'POST /token', 'docker.test', 'https://docker.test/token'],
    ['HEAD', usual, 'HEAD /', 'docker.test', 'https://docker.test/'],
    ['the port of the redirect', usual, 'GET /', 'docker.test:8080', 'https://docker.test/'],
    ['upper case', usual, 'GET /', 'OTHER.test', 'https://other.test/'],
    ['a host of a route', usual, 'GET /', 'other.test:80', 'https://other.test/'],
    ['a port of ours', onPort, 'GET /', 'docker.test', 'https://docker.test:5443/'],
    ['a host of a route and a port of ours', onPort, 'GET /', 'other.test', 'https://other.test:5443/'],
    ['a health check by address', usual, 'GET /', '127.0.0.1:8080', 'https://docker.test/'],
    ['an IPv6 address', usual, 'GET /', '[::1]:8080', 'https://docker.test/'],
    ['a stranger', usual, 'GET /a', 'evil.test', 'https://docker.test/a'],
    ['a stranger with a user', usual, 'GET /a', 'docker.test@evil.test', 'https://docker.test/a'],
    ['a stranger with a path', usual, 'GET /a', 'docker.test/evil', 'https://docker.test/a'],
    ['no URL', usual, 'GET /a', '999.999.999.999', 'https://docker.test/a'],
    ['no address', usual, 'GET /a', '[:::::]', 'https://docker.test/a'],
    ['two slashes', usual, 'GET //evil.test/a', 'docker.test', 'https://docker.test//evil.test/a'],
    ['a backslash', usual, 'GET /\\evil.test', 'docker.test', 'https://docker.test/\\evil.test'],
    ['a whole URL', usual, 'GET http://other.test/a?b', 'docker.test', 'https://other.test/a?b'],
    ['a whole URL without a path', usual, 'GET http://other.test', 'docker.test', 'https://other.test/'],
    ['a whole URL of a stranger', usual, 'GET http://evil.test/a', 'other.test', 'https://docker.test/a'],
  ] as const) {
    test(`${what}: ${location}`, async () => {
      hosts = served;
      const { status, headers, body } = await ask(first, host);
      assert.equal(status, 308);
      assert.equal(headers.get('location'), location);
      assert.equal(headers.get('connection'), 'close');
      assert.equal(body, '');
      assert.ok(URL.canParse(location), 'it is a URL');
    });
  }

  for (const [what, first] of [
    ['a stranger with a user in a whole URL', 'GET http://docker.test@evil.test/'],
    ['another scheme', 'GET ftp://docker.test/'],
    ['an asterisk', 'OPTIONS *'],
    ['no ASCII', 'GET /\u00e4'],
  ] as const) {
    test(`${what}: 400 and no redirect`, async () => {
      const { status, headers } = await ask(first, 'docker.test');
      assert.equal(status, 400);
      assert.equal(headers.get('location'), undefined);
    });
  }

  test('a body is not read, nor what follows it', async () => {
    const { status, body } = await ask(
      'PUT /v2/a/blobs/uploads/1',
      'docker.test',
      'Content-Length: 9000000\r\n',
    );
    assert.deepEqual([status, body], [308, '']);
  });
});
