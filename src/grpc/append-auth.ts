import { toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { type AuthConfig, AuthConfigSchema } from './cri/runtime_pb.js';

/** `auth` of PullImageRequest. */
const authField = 2;

/**
 * Adds a credential to an encoded PullImageRequest that has none. Everything else stays byte for byte, fields we do not
 * know with it: fields of a message may come in any order
 * (https://protobuf.dev/programming-guides/encoding/#order). One that has `auth` already would have both merged.
 */
export function appendAuth(message: Uint8Array, auth: AuthConfig): Uint8Array {
  const field = new BinaryWriter()
    .tag(authField, WireType.LengthDelimited)
    .bytes(toBinary(AuthConfigSchema, auth))
    .finish();
  return Buffer.concat([message, field]);
}
