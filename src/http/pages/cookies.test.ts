import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PageCookies } from './cookies.js';

describe('PageCookies', () => {
  const headers: readonly (readonly [header: string | undefined, session: string | undefined])[] = [
    [undefined, undefined],
    ['', undefined],
    ['__Host-registry-session=a', 'a'],
    ['x=y; __Host-registry-session=a=b; z', 'a=b'],
    ['x=y;__Host-registry-session=a', 'a'],
    ['__Host-registry-session=', undefined],
    ['registry-session=a', undefined],
    ['x__Host-registry-session=a', undefined],
    ['__host-registry-session=a', undefined],
    ['__Host-registry-session=a; __Host-registry-session=b', undefined],
    ['__Host-registry-session=; __Host-registry-session=b', undefined],
    ['__Host-registry-sign-in=a', undefined],
  ];
  for (const [header, session] of headers) {
    test(`reads ${session ?? 'nothing'} from ${header ?? 'no header'}`, () => {
      assert.equal(new PageCookies(true, header).read('session'), session);
    });
  }

  test('on http the name has no prefix, and a cookie with one is none', () => {
    assert.equal(new PageCookies(false, 'registry-session=a').read('session'), 'a');
    assert.equal(new PageCookies(false, '__Host-registry-session=a').read('session'), undefined);
    assert.doesNotMatch(new PageCookies(false).set('session', 'a', 1000), /Secure|__Host/);
  });

  test('life is in whole seconds', () => {
    assert.match(new PageCookies(true).set('session', 'a', 59_999), /; Max-Age=59; /);
  });

  for (const value of ['', 'a;b', 'a b', 'a\r\nb', 'a,b', '"a"', 'é', 'x'.repeat(4096)]) {
    test(`sets no ${JSON.stringify(value.slice(0, 12))}`, () => {
      assert.throws(() => new PageCookies(true).set('session', value, 1000), /cannot be kept/);
    });
  }

  test('sets all that base64 and its like have', () => {
    const value = "AZaz09-_.~+/=:!#$%&'()*<>?@[]^`{|}";
    assert.equal(new PageCookies(true, `__Host-registry-session=${value}`).read('session'), value);
    assert.ok(
      new PageCookies(true).set('session', value, 1000).includes(`=${value}; `),
      'the value as it is',
    );
  });
});
