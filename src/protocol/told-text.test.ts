import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Secret } from '../secret.js';
import { oneToldLine, toldText, type Untold, withoutSecrets } from './told-text.js';

const basic = (username: string, password: string): Untold => ({ username, password: new Secret(password) });

describe('what is told of a text', () => {
  const cases: readonly (readonly [text: string, told: string])[] = [
    ['as it is: 401 Unauthorized', 'as it is: 401 Unauthorized'],
    ['two\nlines\r\n and\ttabs', 'two lines and tabs'],
    ['a \u0007bell', 'a ?bell'],
    [
      'Get "https://s3.example.com/b/l?X-Amz-Signature=abc&X-Amz-Date=1": EOF',
      'Get "https://s3.example.com/b/l?…": EOF',
    ],
    [
      'request to https://auth.example.com/token?scope=a%3Ab&service=x: 401 Unauthorized',
      'request to https://auth.example.com/token?…: 401 Unauthorized',
    ],
    ['Get "https://docker.example.com/b?abc": EOF', 'Get "https://docker.example.com/b?…": EOF'],
    ['Get "s3://bucket/b#abc": EOF', 'Get "s3://bucket/b?…": EOF'],
    ['GET /blob?sig=abc, failed', 'GET /blob?…, failed'],
    ['Get "https://az.example.com/b;sig=abc%3D": EOF', 'Get "https://az.example.com/b;sig=…": EOF'],
    ['sv=1&access_token=abc failed', 'sv=1&access_token=… failed'],
    ['is it there? yes', 'is it there? yes'],
    ['https://user:pass-word@docker.example.com/v2/', 'https://docker.example.com/v2/'],
    ['socks5://user:pa/ss@wo/rd@docker.example.com:1/v2/', 'socks5://docker.example.com:1/v2/'],
    ['http://user:p@ss/word@proxy.example.com', 'http://proxy.example.com'],
    ['pull from docker.example.com/app@sha256:01', 'pull from docker.example.com/app@sha256:01'],
    ['at https://docker.example.com:5000/app@sha256:01', 'at https://docker.example.com:5000/app@sha256:01'],
    ['invalid decoded auth: "hunter2-without-colon"', 'invalid decoded auth'],
    ['sent Bearer abcdefghijklmnop1234', 'sent Bearer [token]'],
    ['Basic dXNlcjpwYXNzd29yZA== was refused', 'Basic [token] was refused'],
    ['Basic authentication is needed', 'Basic authentication is needed'],
    ['token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln is over', 'token [token] is over'],
    ['502 <HTML>\na long page', '502 …'],
    ["invalid character '<': \"<!DOCTYPE html>a long page", "invalid character '<': \"…"],
  ];
  for (const [text, told] of cases) test(text.slice(0, 40), () => assert.equal(toldText(text), told));

  test('is bounded, and takes no time', () => {
    assert.equal(toldText('long '.repeat(100_000)).length, 601);
    const pieces = [
      '?',
      'eyJ',
      '://',
      '://:',
      '://a:@',
      'https://a?',
      '<',
      'a@',
      ' \n',
      ';sig',
      '&key=',
      '\\',
    ];
    for (const piece of pieces) assert.ok(toldText(piece.repeat(1e6 / piece.length)).length <= 601, piece);
  });
});

describe('nothing of what was shown', () => {
  const password = 'pa"ss/wo rd+1<é';
  const token = 'registry-token-with-spe/cial+chars=';
  const shown: readonly Untold[] = [
    basic('robot', password),
    { token: new Secret(token) },
    basic('a-user-name-that-is-a-token', 'x'),
  ];
  const pair = Buffer.from(`robot:${password}`);
  const percent = encodeURIComponent(password);
  const secrets = {
    password,
    'percent-encoded': percent,
    'percent-encoded in lower case': percent.replace(/%../g, (code) => code.toLowerCase()),
    'in a form': percent.replaceAll('%20', '+'),
    'in the userinfo of a URL': 'pa%22ss%2Fwo%20rd+1%3C%C3%A9',
    'in JSON': 'pa\\"ss/wo rd+1<é',
    'in JSON of Go': 'pa\\"ss/wo rd+1\\u003cé',
    'in JSON that is quoted': 'pa\\\\\\"ss/wo rd+1<é',
    pair: pair.toString('base64'),
    'pair without padding': pair.toString('base64').replace(/=+$/, ''),
    'pair for URLs': pair.toString('base64url'),
    token,
    'token, percent-encoded': encodeURIComponent(token),
    'a user name that nobody configured': 'a-user-name-that-is-a-token',
  };
  for (const [what, secret] of Object.entries(secrets)) {
    test(what, () => assert.equal(toldText(`refused ${secret}!`, shown), 'refused [secret]!'));
  }

  test('a configured user name is no secret, and neither is a short one', () => {
    const configured = { ...basic('a-user-name-that-is-long', 'long-enough'), isConfigured: true as const };
    const text = 'refused a-user-name-that-is-long and AWS';
    assert.equal(toldText(text, [configured, basic('AWS', 'x')]), text);
  });

  test('not the half of one where the text is cut', () => {
    const text = `${'<html>'}${'x'.repeat(16_370)}${password}`;
    assert.doesNotMatch(withoutSecrets(text.slice(6), shown), /pa"ss/);
    assert.doesNotMatch(oneToldLine(`${'\n'.repeat(16_380)}${password}`, shown), /pa"s/);
  });
});

test('a text whose lines stay', () => {
  assert.equal(withoutSecrets(' two\n lines ', []), ' two\n lines ');
  assert.equal(
    withoutSecrets('RegistryUnavailable: hunter2\n', [{ token: new Secret('hunter2') }]),
    'RegistryUnavailable: [secret]\n',
  );
  assert.equal(withoutSecrets('x'.repeat(20_000), []).length, 16_385);
});
