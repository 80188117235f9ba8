import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tag } from './tag.js';
import { withoutTag } from './without-tag.js';

for (const [text, tag, expected] of [
  ['tag denied unknown', 'denied', 'tag TAG unknown'],
  ['denied: x:denied "denied" (denied).', 'denied', 'TAG: x:TAG "TAG" (TAG).'],
  ['/manifests/denied, denied.', 'denied', '/manifests/TAG, TAG.'],
  [
    'access-denied denied-1 denied.1 predenied Denied',
    'denied',
    'access-denied denied-1 denied.1 predenied Denied',
  ],
  ['1x2 1.2', '1.2', '1x2 TAG'],
  ['v1+2', 'v1', 'TAG+2'],
  ['[manifests 404]: 404 Not Found', '404', '[manifests TAG]: 404 Not Found'],
  [
    '/manifests/404": "404" tag 404 tag=404 manifest 404 in',
    '404',
    '/manifests/TAG": "TAG" tag TAG tag=TAG manifest TAG in',
  ],
  ['HTTP 404 StatusCode: 404', '404', 'HTTP 404 StatusCode: 404'],
] as const) {
  test(`${text} without ${tag}`, () => assert.equal(withoutTag(text, tag as string as Tag), expected));
}

test('takes no time', () => {
  assert.ok(withoutTag('manifest '.repeat(200_000), '1' as string as Tag), 'nothing is left');
});
