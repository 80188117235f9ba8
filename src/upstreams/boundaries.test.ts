import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDigest } from '../reference/digest.js';
import { failsWith } from './opened-upstream.test.js';
import { presetFor } from './presets/index.js';
import { checkRealm, RealmRefused } from './realm.js';
import { redirectTarget } from './redirects.js';
import { driver } from './registry.js';
import { LocationRefused, parseSession, sessionLocation, withDigest } from './upload-session.js';

describe('the realm of a challenge', () => {
  const hub = new URL('https://registry-1.docker.io');
  const own = new URL('https://reg.example.com:5000');
  const plain = new URL('http://127.0.0.1:5000');
  const lan = new URL('http://reg.example.com');
  const auth = new URL('https://auth.example.com');
  const cases: readonly (readonly [realm: string, upstream: URL, allowed: boolean, configured?: URL])[] = [
    ['https://auth.docker.io/token', hub, true],
    ['https://registry-1.docker.io/token', hub, true],
    ['https://evil-auth.docker.io/token', hub, false],
    ['https://auth.docker.io.evil.com/token', hub, false],
    ['https://auth.docker.io:444/token', hub, false],
    ['http://auth.docker.io/token', hub, false],
    ['https://auth.docker.io@evil.com/', hub, false],
    ['https://u:p@auth.docker.io/', hub, false],
    ['https://reg.example.com:5000/auth?a=b', own, true],
    ['https://reg.example.com/auth', own, false],
    ['https://evilreg.example.com:5000/auth', own, false],
    ['https://sub.reg.example.com:5000/auth', own, false],
    ['http://reg.example.com:5000/auth', own, false],
    ['https://auth.docker.io/token', own, false],
    ['http://127.0.0.1:5000/auth', plain, true],
    ['http://127.0.0.1:5001/auth', plain, false],
    ['http://127.0.0.1:5001/auth', plain, true, new URL('http://127.0.0.1:5001')],
    ['http://reg.example.com/auth', lan, true],
    ['http://other.example.com/auth', lan, false, new URL('http://other.example.com')],
    ['http://169.254.169.254/latest', plain, false],
    ['https://auth.example.com/any', own, true, auth],
    ['https://auth.example.com/jwt/auth', own, true, new URL('https://auth.example.com/jwt/auth')],
    ['https://auth.example.com/other', own, false, new URL('https://auth.example.com/jwt/auth')],
    ['https://auth.example.com.evil.com/', own, false, auth],
    ['/token', own, false],
    ['file:///etc/passwd', own, false],
  ];
  for (const [realm, upstream, allowed, configured] of cases) {
    test(`${realm} is ${allowed ? 'allowed' : 'refused'} for ${upstream.host}`, () => {
      const { tokenOrigins } = presetFor(upstream);
      const check = () => checkRealm(realm, { upstream, tokenOrigins, ...(configured && { configured }) });
      if (allowed) assert.equal(check().href, realm);
      else assert.throws(check, RealmRefused);
    });
  }
});

describe('the target of a redirect', () => {
  const own = new URL('https://reg.example.com');
  const plain = new URL('http://reg.example.com');
  const local = new URL('http://127.0.0.1:5000');
  const cases: readonly (readonly [location: string, upstream: URL, target: string | undefined])[] = [
    ['https://bucket.s3.amazonaws.com/x?sig=1#f', own, 'https://bucket.s3.amazonaws.com/x?sig=1'],
    ['/artifacts-downloads/x', own, 'https://reg.example.com/artifacts-downloads/x'],
    ['http://bucket.s3.amazonaws.com/x', own, undefined],
    ['http://bucket.s3.amazonaws.com/x', plain, 'http://bucket.s3.amazonaws.com/x'],
    ['https://u:p@bucket.example.com/x', own, undefined],
    ['file:///etc/passwd', own, undefined],
    ['https://[/', own, undefined],
    ...[
      '127.0.0.1',
      '2130706433',
      '0x7f.1',
      '10.1.2.3',
      '172.16.0.1',
      '192.168.1.1',
      '169.254.169.254',
      '100.100.1.1',
      '0.0.0.0',
      '[::1]',
      '[::]',
      '[fe80::1]',
      '[fd00::1]',
      '[::ffff:127.0.0.1]',
      '[::ffff:169.254.169.254]',
      'localhost',
      'a.localhost',
      'localhost.',
    ].map((host) => [`https://${host}/x`, own, undefined] as const),
    ['https://8.8.8.8/x', own, 'https://8.8.8.8/x'],
    ['http://10.1.2.3:9000/x', local, 'http://10.1.2.3:9000/x'],
  ];
  for (const [location, upstream, target] of cases) {
    test(`${location} is ${target === undefined ? 'refused' : 'followed'} from ${upstream.origin}`, () => {
      const answer = { headers: new Map([['location', location]]) };
      const follow = () =>
        redirectTarget({ ...answer, status: 307, body: undefined as never }, upstream, upstream);
      if (target !== undefined) assert.equal(follow().href, target);
      else assert.throws(follow, failsWith('UNAVAILABLE'));
    });
  }

  test('is never told with its query', () => {
    const headers = new Map([['location', 'http://bucket.example.com/x?X-Amz-Signature=abc']]);
    const follow = () => redirectTarget({ status: 307, headers, body: undefined as never }, own, own);
    assert.throws(follow, (error) => !JSON.stringify([String(error), error]).includes('abc'));
  });
});

describe('where an upload goes on', () => {
  const own = new URL('https://reg.example.com:5000');
  const from = new URL('https://reg.example.com:5000/v2/a/b/blobs/uploads/');
  const session = 'https://reg.example.com:5000/v2/a/b/blobs/uploads/1?_state=a%2Fb+c~d==';
  const cases: readonly (readonly [location: string | undefined, goesOn: string | undefined])[] = [
    [session, session],
    ['/v2/a/b/blobs/uploads/1?_state=a%2Fb+c~d==', session],
    ['1?_state=a%2Fb+c~d==', session],
    ['?_state=1', 'https://reg.example.com:5000/v2/a/b/blobs/uploads/?_state=1'],
    ['/artifacts-uploads/x?y=1#z', 'https://reg.example.com:5000/artifacts-uploads/x?y=1'],
    ['http://reg.example.com:5000/v2/x', 'https://reg.example.com:5000/v2/x'],
    ['http://reg.example.com/v2/x', 'https://reg.example.com:5000/v2/x'],
    ['https://reg.example.com:8443/v2/x', 'https://reg.example.com:5000/v2/x'],
    ['https://REG.example.com:5000/v2/x', 'https://reg.example.com:5000/v2/x'],
    ['https://evil.example.com:5000/v2/x', undefined],
    ['https://reg.example.com.evil.com:5000/v2/x', undefined],
    ['https://evilreg.example.com:5000/v2/x', undefined],
    ['https://sub.reg.example.com:5000/v2/x', undefined],
    ['//evil.example.com/v2/x', undefined],
    ['\\\\evil.example.com/v2/x', undefined],
    ['https://reg.example.com:5000@evil.example.com/v2/x', undefined],
    ['https://u:p@reg.example.com:5000/v2/x', undefined],
    ['https://u@reg.example.com:5000/v2/x', undefined],
    ['https://169.254.169.254/latest', undefined],
    ['ftp://reg.example.com:5000/v2/x', undefined],
    ['file:///etc/passwd', undefined],
    ['https://[/', undefined],
    ['', undefined],
    [undefined, undefined],
  ];
  for (const [location, goesOn] of cases) {
    test(`${location} is ${goesOn === undefined ? 'refused' : 'taken'}`, () => {
      const take = () => sessionLocation(location, from, own);
      if (goesOn !== undefined) assert.equal(take().href, goesOn);
      else assert.throws(take, LocationRefused);
    });
  }

  test('a refusal tells no more than a host', () => {
    const secret = 'https://u:hush@evil.example.com/v2/x?_state=hush';
    assert.throws(
      () => sessionLocation(secret, from, own),
      (error) => !String(error).includes('hush'),
    );
  });

  const returned: readonly (readonly [text: string, isOurs: boolean])[] = [
    [session, true],
    ['https://other.example.com/v2/a/b/blobs/uploads/1', false],
    ['https://reg.example.com/v2/a/b/blobs/uploads/1', false],
    ['http://reg.example.com:5000/v2/a/b/blobs/uploads/1', false],
    ['https://u@reg.example.com:5000/v2/a/b/blobs/uploads/1', false],
    ['/v2/a/b/blobs/uploads/1', false],
    ['', false],
  ];
  for (const [text, isOurs] of returned) {
    test(`a session at ${text} is ${isOurs ? 'gone on with' : 'refused'}`, () => {
      if (isOurs) assert.equal(parseSession(text, own).href, text);
      else assert.throws(() => parseSession(text, own), failsWith('BLOB_UPLOAD_INVALID'));
    });
  }

  const digest = parseDigest(`sha256:${'0'.repeat(64)}`);
  const written = `digest=sha256%3A${'0'.repeat(64)}`;
  for (const [query, becomes] of [
    ['', `?${written}`],
    ['?_state=a%2Fb+c~d==', `?_state=a%2Fb+c~d==&${written}`],
    ['?digest=sha256:1&a=%20&digest=2&&b', `?a=%20&b&${written}`],
    ['?%64igest=1&digests=2', `?digests=2&${written}`],
  ] as const) {
    test(`the digest is put into '${query}', and nothing else changes`, () => {
      const url = withDigest(new URL(`https://reg.example.com/u/1${query}`), digest);
      assert.equal(url.search, becomes);
      assert.equal(url.searchParams.get('digest'), digest);
    });
  }
});

describe('the configuration of an upstream', () => {
  const cases: readonly (readonly [config: Readonly<Record<string, unknown>>, valid: boolean])[] = [
    [{ url: 'https://gcr.io' }, true],
    [{ url: 'http://localhost:5000/' }, true],
    [{ url: 'gcr.io' }, true],
    [{ url: 'https://gcr.io/path' }, false],
    [{ url: 'https://user:secret@gcr.io' }, false],
    [{ url: 'ftp://gcr.io' }, false],
    [{ url: 'https://gcr.io', blobs: 'maybe' }, false],
    [{ url: 'https://gcr.io', credentials: {} }, false],
    [{ url: 'https://gcr.io', timeouts: { connect: '5s' } }, true],
    [{ url: 'https://gcr.io', timeouts: { conect: '5s' } }, false],
    [{ url: 'https://gcr.io', timeouts: { idle: '0s' } }, false],
    [{ url: 'https://gcr.io', timeouts: { commit: '30m' } }, true],
    [{ url: 'https://gcr.io', defaultNamespace: 'library' }, true],
    [{ url: 'https://gcr.io', defaultNamespace: 'a/b' }, false],
    [{ url: 'https://gcr.io', proxy: 'http://u:secret@proxy.example.com:3128' }, true],
    [{ url: 'https://gcr.io', proxy: 'socks5://proxy.example.com' }, false],
    [{ url: 'https://gcr.io', connections: 0 }, false],
  ];
  for (const [config, valid] of cases) {
    test(`${JSON.stringify(config)} is ${valid ? 'valid' : 'refused'}`, () => {
      const parsed = driver.config.safeParse(config);
      assert.equal(parsed.success, valid);
      assert.doesNotMatch(JSON.stringify(parsed.data ?? parsed.error?.issues), /secret@|:secret/);
    });
  }
});
