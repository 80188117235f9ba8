import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Credential } from '../../contracts/credential-source.js';
import { RegistryError } from '../../errors.js';
import { parseRegistryHost } from '../../reference/registry-host.js';
import { Secret } from '../../secret.js';
import { basicCredential } from '../../testing/fake-credential-source.js';
import { authConfigOf, credentialOf } from './auth-config.js';
import { AuthConfigSchema } from './runtime_pb.js';

type Fields = MessageInitShape<typeof AuthConfigSchema>;

describe('a credential as a runtime takes it', () => {
  const cases: readonly (readonly [Credential, registry: string, Fields])[] = [
    [
      basicCredential('robot', 'secret'),
      'docker.example.com:5000',
      { username: 'robot', password: 'secret', serverAddress: 'https://docker.example.com:5000' },
    ],
    [
      basicCredential('robot', 'secret'),
      'docker.io',
      { username: 'robot', password: 'secret', serverAddress: 'https://registry-1.docker.io' },
    ],
    [
      { kind: 'identity-token', token: new Secret('refresh') },
      'gcr.io',
      { identityToken: 'refresh', serverAddress: 'https://gcr.io' },
    ],
    [
      { kind: 'registry-token', token: new Secret('bearer') },
      'gcr.io',
      { registryToken: 'bearer', serverAddress: 'https://gcr.io' },
    ],
  ];
  for (const [credential, registry, fields] of cases) {
    test(`${credential.kind} for ${registry}`, () => {
      const config = authConfigOf(credential, parseRegistryHost(registry));
      assert.deepEqual(config, create(AuthConfigSchema, fields));
    });
  }
});

describe("kubelet's credential", () => {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const cases: readonly (readonly [what: string, Fields, string | undefined])[] = [
    ['user and password', { username: 'u', password: 'p:w' }, 'basic u p:w'],
    ['its address does not count', { username: 'u', password: 'p', serverAddress: 'x' }, 'basic u p'],
    ['auth', { auth: base64('u:p:w') }, 'basic u p:w'],
    ['auth, padded by old dockers', { auth: base64('u:p\0\0') }, 'basic u p'],
    ['a user beside auth', { username: 'u', password: 'p', auth: base64('v:q') }, 'basic u p'],
    ['an identity token', { identityToken: 't' }, 'identity-token t'],
    ['an identity token beside auth', { identityToken: 't', auth: base64('v:q') }, 'identity-token t'],
    ['a registry token', { registryToken: 't' }, 'registry-token t'],
    ['nothing', {}, undefined],
    ['an address alone', { serverAddress: 'https://x.test' }, undefined],
  ];
  for (const [what, fields, expected] of cases) {
    test(what, () => assert.equal(printed(credentialOf(create(AuthConfigSchema, fields))), expected));
  }

  for (const auth of [base64('without a colon'), base64(':password'), '!!!']) {
    test(`auth that is none is an error, and not nobody: ${auth}`, () => {
      assert.throws(
        () => credentialOf(create(AuthConfigSchema, { auth })),
        (error) =>
          error instanceof RegistryError &&
          !JSON.stringify([error, error.message, error.reason]).includes(auth),
      );
    });
  }
});

function printed(credential: Credential | undefined): string | undefined {
  if (credential === undefined) return undefined;
  const { kind } = credential;
  return kind === 'basic'
    ? `${kind} ${credential.username} ${credential.password.reveal()}`
    : `${kind} ${credential.token.reveal()}`;
}
