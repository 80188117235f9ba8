import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RegistryMethod, RegistryOperation, RegistryResponse } from '../contracts/index.js';
import { parseDigest } from '../reference/digest.js';
import { parseReference } from '../reference/reference.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { ServedHosts } from '../routing/served-host.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeTokenIssuer } from '../testing/fake-token-issuer.js';
import { answerWrite } from './answer-write.js';
import type { ClientRequest } from './client-request.js';
import { UploadSessions } from './upload-sessions.js';

const digest = parseDigest(`sha256:${'0'.repeat(64)}`);
const other = parseDigest(`sha256:${'1'.repeat(64)}`);
const repository = parseRepositoryName('hub/alpine');
const place = {
  service: 'docker.test',
  destination: {
    canonical: parseRepositoryName('hub/library/alpine'),
    upstreamId: 'hub',
    upstreamName: parseRepositoryName('library/alpine'),
  },
};
const location = new URL('http://upstream.test:5000/v2/library/alpine/blobs/uploads/1?_state=x');
const sessions = new UploadSessions(new FakeTokenIssuer(), new FakeClock());

function request(method: RegistryMethod, operation: RegistryOperation, ns?: string): ClientRequest {
  return {
    host: new ServedHosts(new URL('https://docker.test'), []).find('docker.test'),
    method,
    operation,
    headers: new Map(),
    credentials: { shown: { kind: 'none' }, connection: { address: '192.0.2.1' } },
    admit: () => {},
    ...(ns !== undefined && { ns }),
  };
}

function answer(asked: ClientRequest, response: Partial<RegistryResponse> & { status: number }) {
  return answerWrite(asked, { headers: new Map(), ...response }, sessions, place);
}

const upload = { kind: 'upload', repository } as const;
const manifest = { kind: 'manifest', repository, reference: parseReference('3') } as const;
const created = new Map([['docker-content-digest', other]]);

describe('answerWrite', () => {
  for (const status of [202, 204]) {
    test(`${status}: the session goes on under the name the client uses`, () => {
      const text = answer(request('PATCH', upload), { status, location }).location ?? '';
      const [, sealed = ''] = /^\/v2\/hub\/alpine\/blobs\/uploads\/([A-Za-z0-9_-]+)$/.exec(text) ?? [];
      assert.equal(sessions.open(sealed, place).href, location.href);
    });
  }

  test('a mirror’s client stays on its mirror', () => {
    for (const [asked, response] of [
      [request('POST', upload, 'docker.io'), { status: 202, location }],
      [request('PUT', { ...upload, session: 's', digest }, 'docker.io'), { status: 201, headers: created }],
      [request('PUT', manifest, 'docker.io'), { status: 201, headers: created }],
    ] as const) {
      assert.match(answer(asked, response).location ?? '', /^\/v2\/hub\/alpine\/[^?]+\?ns=docker\.io$/);
    }
    const odd = answer(request('POST', upload, 'r&x=y'), { status: 202, location });
    assert.match(odd.location ?? '', /\?ns=r%26x%3Dy$/);
  });

  for (const [what, asked, path] of [
    ['a blob put', request('PUT', { ...upload, session: 's', digest }), `blobs/${other}`],
    ['a blob put at once', request('POST', { ...upload, digest }), `blobs/${other}`],
    ['a blob mounted', request('POST', { ...upload, mount: { digest } }), `blobs/${other}`],
    ['a manifest put', request('PUT', manifest), `manifests/${other}`],
  ] as const) {
    test(`${what}: Location is where it can be pulled, by the digest the upstream names`, () => {
      const response = { status: 201, headers: created, location };
      assert.equal(answer(asked, response).location, `/v2/hub/alpine/${path}`);
    });
  }

  for (const [what, asked, response] of [
    ['a cancelled upload', request('DELETE', { ...upload, session: 's' }), { status: 204 }],
    [
      'a blob without a digest',
      request('PUT', { ...upload, session: 's', digest }),
      { status: 201, location },
    ],
    [
      'a manifest that was accepted only',
      request('PUT', manifest),
      { status: 202, location, headers: created },
    ],
  ] as const) {
    test(`${what}: no Location, least of all the upstream’s`, () => {
      assert.equal(answer(asked, response).location, undefined);
    });
  }

  test('status and headers stay; nothing of the upstream’s own URL is in the answer', () => {
    const headers = new Map([
      ['range', '0-5'],
      ['docker-upload-uuid', 'u'],
    ]);
    const got = answer(request('PATCH', { ...upload, session: 's' }), {
      status: 202,
      headers,
      location,
      nextPage: 'x',
    });
    assert.deepEqual([...Object.keys(got)].sort(), ['headers', 'location', 'status']);
    assert.equal(got.headers, headers);
    assert.doesNotMatch(got.location ?? '', /upstream|library|_state|5000/);
  });
});
