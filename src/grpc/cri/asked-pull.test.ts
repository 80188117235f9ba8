import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { askedPull } from './asked-pull.js';
import { PullImageRequestSchema } from './runtime_pb.js';

test('a pull of kubelet', () => {
  const request = create(PullImageRequestSchema, {
    image: { image: 'docker.example.com/app:1', annotations: { team: 'a' }, userSpecifiedImage: 'app' },
    sandboxConfig: { metadata: { name: 'cart-1', uid: 'u-1', namespace: 'shop' } },
  });
  assert.deepEqual(askedPull(request), {
    image: 'docker.example.com/app:1',
    pod: { namespace: 'shop', name: 'cart-1', uid: 'u-1' },
    annotations: new Map([['team', 'a']]),
    hasOwnCredential: false,
  });
});

test('a pull of crictl, without a pod', () => {
  const request = create(PullImageRequestSchema, {
    image: { image: 'app' },
    sandboxConfig: { metadata: {} },
  });
  assert.equal(askedPull(request).pod, undefined);
});

test('a credential that is present and empty is one of kubelet', () => {
  assert.equal(askedPull(create(PullImageRequestSchema, { auth: {} })).hasOwnCredential, true);
});

test('all that is secret of its credential is known', () => {
  const auth = {
    username: 'k',
    password: 'p',
    auth: Buffer.from('l:q').toString('base64'),
    identityToken: 'i',
  };
  const { untold = [] } = askedPull(create(PullImageRequestSchema, { auth }));
  const secrets = untold.map((one) => ('token' in one ? one.token : one.password).reveal());
  assert.deepEqual(secrets.filter((secret) => secret !== '').sort(), ['bDpx', 'i', 'l:q', 'p', 'q']);
});

test('an empty request', () => {
  const asked = { image: '', annotations: new Map(), hasOwnCredential: false };
  assert.deepEqual(askedPull(create(PullImageRequestSchema)), asked);
});
