import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import type { CredentialSource } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { startMemoryRegistry, tinyImage } from '../testing/index.js';
import { openUpstream, operations, password } from './opened-upstream.test.js';

// Only the registry's own word that there is no such repository makes one: everything else that answers 404 may stand
// before a registry, and each creation costs.

const { root } = tinyImage('x');
const error = (code: string) => JSON.stringify({ errors: [{ code, message: 'no' }] });

const answers: readonly (readonly [name: string, status: number, body: string, makes: boolean])[] = [
  ['the registry’s NAME_UNKNOWN', 404, error('NAME_UNKNOWN'), true],
  ['a page of a gateway', 404, '<html>no such site', false],
  ['a 404 without a body', 404, '', false],
  ['a registry error of another code', 404, error('MANIFEST_UNKNOWN'), false],
  ['a registry error of no known code', 404, error('NOT_FOUND'), false],
  ['a refusal', 403, error('NAME_UNKNOWN'), false],
];

const writes = {
  'an upload': { method: 'POST', path: 'uploads/' },
  'a manifest': { method: 'PUT', path: 'manifests/' },
} as const;

describe('a push is answered', () => {
  for (const [what, { method, path }] of Object.entries(writes)) {
    for (const [name, status, body, makes] of answers) {
      test(`${name}, to ${what}: ${makes ? 'the repository is made' : 'nothing is made'}`, async (t) => {
        const remote = await startMemoryRegistry({ verifyBlobs: false });
        t.after(() => remote.close());
        remote.faults.add({ server: 'registry', path, method }, { answer: { status, body } });
        const made: string[] = [];
        const credentials: CredentialSource = {
          credentialFor: async () => password('a', 'b'),
          createRepository: async (target) => {
            made.push(target.name);
            return false;
          },
          close: async () => {},
        };
        const { fetch } = await openUpstream(t, remote.url, { credentials });
        const pushed =
          method === 'POST'
            ? fetch('POST', operations.upload('team/x'))
            : fetch('PUT', operations.manifest('team/x', 'v1'), {
                headers: { 'content-type': root.mediaType },
                body: Readable.from([root.bytes]),
              });
        const failure = await pushed.then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        assert.ok(failure instanceof RegistryError, `it failed with ${String(failure)}`);
        assert.deepEqual(made, makes ? ['team/x'] : []);
        assert.equal(/it must be created there first/.test(failure.message), makes, failure.message);
      });
    }
  }
});
