import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RuntimeError } from '../../contracts/runtime.js';
import { RegistryError } from '../../errors.js';
import { parseImageReference } from '../../reference/image-reference.js';
import { Secret } from '../../secret.js';
import { pullFailure } from './pull-failure.js';

const image = parseImageReference('docker.example.com/team/app:1');

/** As engines say it: of its own image store, and of containerd's. */
const words: readonly (readonly [message: string, kind: string, status?: number])[] = [
  ['Get "https://docker.example.com/v2/team/app/manifests/1": no basic auth credentials', 'UNAUTHORIZED'],
  [
    'Head "https://docker.example.com/v2/team/app/manifests/1": unauthorized: authentication required',
    'UNAUTHORIZED',
  ],
  ['unauthorized: incorrect username or password', 'UNAUTHORIZED'],
  [
    "pull access denied for docker.example.com/team/app, repository does not exist or may require 'docker login'",
    'UNAUTHORIZED',
    404,
  ],
  [
    'failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://a.example.com/token?scope=x: 401 Unauthorized',
    'UNAUTHORIZED',
  ],
  ['denied: Your authorization token has expired. Reauthenticate and try again.', 'UNAUTHORIZED', 403],
  ['authentication required', 'UNAUTHORIZED', 401],
  [
    "pull access denied for docker.example.com/team/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
    'DENIED',
    404,
  ],
  [
    'pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed',
    'DENIED',
  ],
  [
    'unexpected status from HEAD request to https://docker.example.com/v2/team/app/manifests/1: 403 Forbidden',
    'DENIED',
  ],
  ['no', 'DENIED', 403],
  [
    'repository docker.example.com/team/app not found: name unknown: repository name not known to registry',
    'NAME_UNKNOWN',
    404,
  ],
  [
    'manifest for docker.example.com/team/app:1 not found: manifest unknown: manifest unknown',
    'MANIFEST_UNKNOWN',
    404,
  ],
  [
    'failed to resolve reference "docker.example.com/team/app:1": docker.example.com/team/app:1: not found',
    'MANIFEST_UNKNOWN',
    404,
  ],
  ['no matching manifest for linux/s390x in the manifest list entries', 'MANIFEST_UNKNOWN', 404],
  ['no', 'MANIFEST_UNKNOWN', 404],
  ['toomanyrequests: You have reached your pull rate limit.', 'TOOMANYREQUESTS'],
  [
    'unexpected status from HEAD request to https://docker.example.com/v2/: 429 Too Many Requests',
    'TOOMANYREQUESTS',
  ],
  ['error parsing HTTP 429 response body: unexpected end of JSON input: ""', 'TOOMANYREQUESTS'],
  ['received unexpected HTTP status: 502 Bad Gateway', 'UNAVAILABLE'],
  ['received unexpected HTTP status: 503 Service Unavailable', 'UNAVAILABLE'],
  [
    'error parsing HTTP 504 response body: invalid character \'<\' looking for beginning of value: "<html>unauthorized</html>"',
    'UNAVAILABLE',
  ],
  [
    'unexpected status from HEAD request to https://docker.example.com/v2/: 503 Service Unavailable',
    'UNAVAILABLE',
  ],
  ['unavailable: service unavailable', 'UNAVAILABLE'],
  ['anything', 'UNAVAILABLE', 502],
  ['Get "https://docker.example.com/v2/": dial tcp 127.0.0.1:1: connect: connection refused', 'UNAVAILABLE'],
  [
    'Get "https://docker.example.com/v2/": dial tcp: lookup docker.example.com on 127.0.0.1:53: no such host',
    'UNAVAILABLE',
  ],
  ['Get "https://docker.example.com/v2/": net/http: TLS handshake timeout', 'UNAVAILABLE'],
  [
    'Get "https://docker.example.com/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority',
    'UNAVAILABLE',
  ],
  ['Get "https://docker.example.com/v2/": http: server gave HTTP response to HTTPS client', 'UNAVAILABLE'],
  [
    'Get "https://docker.example.com/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)',
    'UNAVAILABLE',
  ],
  ['Get "https://docker.example.com/v2/": EOF', 'UNAVAILABLE'],
  ['unexpected EOF', 'UNAVAILABLE'],
  ['read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer', 'UNAVAILABLE'],
  ['write /var/lib/docker/tmp/GetImageBlob1: no space left on device', 'full'],
  ['failed to register layer: ApplyLayer exit status 1: write /usr/lib/a: no space left on device', 'full'],
  ['image verification failed: no valid signature', 'signature'],
  ['Error: remote trust data does not exist', 'signature'],
  ['context canceled', 'unavailable'],
  ['received unexpected HTTP status: 500 Internal Server Error', 'UNAVAILABLE'],
  ['filesystem layer verification failed for digest sha256:0', 'failed'],
  ['mkdir /var/lib/docker/tmp: permission denied', 'failed'],
  ['failed to register layer: layer does not exist', 'failed'],
  ['authorization denied by plugin opa: unauthorized', 'failed', 403],
  ['something new', 'failed', 500],
];

function kindOf(error: RegistryError | RuntimeError): string {
  return error instanceof RegistryError ? error.code : error.fault;
}

function said(error: RegistryError | RuntimeError): string {
  return (error instanceof RegistryError ? error.reason : error.message) ?? '';
}

describe('what the engine says of a failed pull', () => {
  for (const [message, kind, status] of words) {
    test(`${kind}: ${message.slice(0, 90)}`, () => {
      const error = pullFailure({ message, ...(status && { status }) }, image, []);
      assert.equal(kindOf(error), kind);
    });
  }

  test('an image may be called after an error', () => {
    for (const [name, message, kind] of [
      [
        'denied.example.com/unauthorized/eof:503',
        'manifest for denied.example.com/unauthorized/eof:503 not found',
        'MANIFEST_UNKNOWN',
      ],
      ['docker.io/unauthorized/eof', 'manifest for unauthorized/eof:latest not found', 'MANIFEST_UNKNOWN'],
      [
        'docker.io/library/denied:429',
        'manifest for denied:429 not found: manifest unknown',
        'MANIFEST_UNKNOWN',
      ],
      ['docker.example.com/app:unauthorized', 'tag unauthorized unknown', 'failed'],
      [
        'docker.example.com/app:unauthorized',
        'manifest for docker.example.com/app:unauthorized not found',
        'MANIFEST_UNKNOWN',
      ],
      [
        'docker.example.com/app:insufficient_scope',
        'manifest unknown: insufficient_scope',
        'MANIFEST_UNKNOWN',
      ],
      ['docker.example.com/app:EOF', 'Get "https://docker.example.com/v2/app/manifests/EOF": odd', 'failed'],
      ['docker.example.com/app:denied', 'tag "denied" is not here', 'failed'],
      ['docker.example.com/app:429', 'tag 429 is not here', 'failed'],
      ['docker.example.com/app:429', 'error parsing HTTP 429 response body', 'TOOMANYREQUESTS'],
      ['docker.io/library/a:1', 'Get "https://registry-1.docker.io/v2/": unauthorized', 'UNAUTHORIZED'],
    ] as const) {
      assert.equal(kindOf(pullFailure({ message }, parseImageReference(name), [])), kind, name);
    }
  });

  test('is one line, without what nobody may read', () => {
    const message =
      'Get "https://alice:s3cr3t@cdn.example.com/blob?X-Amz-Signature=abc&y=1": dial tcp\n\n  of hunter2%2F and hunter2/:\r\n EOF <HTML>\nlong page';
    const line = said(pullFailure({ message }, image, [{ token: new Secret('hunter2/') }]));
    assert.equal(line, 'Get "https://cdn.example.com/blob?…": dial tcp of [secret] and [secret]: EOF …');
  });

  test('is bounded, and read beyond its bound', () => {
    const error = pullFailure({ message: `${'x'.repeat(2000)} no space left on device` }, image, []);
    assert.equal(kindOf(error), 'full');
    assert.ok(said(error).length <= 601, 'too long');
  });

  test('takes no time to read', () => {
    for (const piece of ['https://', 'https://a?', '<', 'a@', ' \n', 'repository ']) {
      assert.ok(pullFailure({ message: piece.repeat(200_000) }, image, []), piece);
    }
  });
});
