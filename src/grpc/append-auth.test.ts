import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { create, equals, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { appendAuth } from './append-auth.js';
import { type AuthConfig, AuthConfigSchema, PullImageRequestSchema } from './cri/runtime_pb.js';

const text = fc.string({ maxLength: 40, unit: 'grapheme' });

const authConfig = fc
  .record({ username: text, password: text, serverAddress: text, identityToken: text, registryToken: text })
  .map((fields): AuthConfig => create(AuthConfigSchema, fields));

/** Fields that we do not know, of every wire type, beside and inside those we do. */
const unknownField = fc
  .tuple(fc.integer({ min: 30, max: 5000 }), fc.uint8Array({ maxLength: 50 }), fc.nat())
  .map(([field, bytes, kind]) => {
    const writer = new BinaryWriter();
    if (kind % 4 === 0) return writer.tag(field, WireType.LengthDelimited).bytes(bytes).finish();
    if (kind % 4 === 1)
      return writer
        .tag(field, WireType.Varint)
        .uint64(BigInt(kind) << 20n)
        .finish();
    if (kind % 4 === 2) return writer.tag(field, WireType.Bit32).fixed32(kind).finish();
    return writer.tag(field, WireType.Bit64).fixed64(BigInt(kind)).finish();
  });

const pullRequest = fc
  .tuple(
    fc.record({
      image: fc.option(
        fc.record({
          image: text,
          annotations: fc.dictionary(text, text, { maxKeys: 4 }),
          runtimeHandler: text,
        }),
        { nil: undefined },
      ),
      sandboxConfig: fc.option(
        fc.record({ metadata: fc.record({ name: text, uid: text, namespace: text }) }),
        { nil: undefined },
      ),
    }),
    fc.array(unknownField, { maxLength: 5 }),
  )
  .map(([{ image, sandboxConfig }, unknown]) => {
    const known = create(PullImageRequestSchema, {
      ...(image && { image: { ...image, annotations: { ...image.annotations } } }),
      ...(sandboxConfig && { sandboxConfig }),
    });
    return Buffer.concat([toBinary(PullImageRequestSchema, known), ...unknown]);
  });

test('the message with a credential is the message, and the credential', () => {
  const property = fc.property(pullRequest, authConfig, (message, auth) => {
    const before = fromBinary(PullImageRequestSchema, message);
    assert.equal(before.auth, undefined, 'it has none before');
    const appended = appendAuth(message, auth);
    assert.ok(Buffer.from(appended).subarray(0, message.length).equals(message), 'what was there stays');
    const after = fromBinary(PullImageRequestSchema, appended);
    assert.ok(after.auth !== undefined && equals(AuthConfigSchema, after.auth, auth), 'the credential');
    assert.ok(equals(PullImageRequestSchema, { ...after, auth }, { ...before, auth }), 'the known fields');
    assert.deepEqual(after.$unknown, before.$unknown, 'the unknown ones');
  });
  fc.assert(property, { numRuns: 300 });
});

describe('the bytes', () => {
  const auth = create(AuthConfigSchema, { username: 'u', password: 'p' });
  const cases: readonly (readonly [message: string, whole: string])[] = [
    ['', '12060a0175120170'],
    ['0a030a0178', '0a030a017812060a0175120170'],
  ];
  for (const [message, whole] of cases) {
    test(`after ${message || 'nothing'}`, () => {
      assert.equal(Buffer.from(appendAuth(Buffer.from(message, 'hex'), auth)).toString('hex'), whole);
    });
  }

  test('of a credential that is longer than one byte can say', () => {
    const long = create(AuthConfigSchema, { password: 'p'.repeat(5000) });
    assert.equal(
      fromBinary(PullImageRequestSchema, appendAuth(Buffer.of(), long)).auth?.password.length,
      5000,
    );
  });
});
