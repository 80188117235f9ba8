import { gunzip } from 'node:zlib';
import { fromBinary } from '@bufbuild/protobuf';
import { type PullImageRequest, PullImageRequestSchema, PullImageResponseSchema } from './cri/runtime_pb.js';
import { framePrefix, type GrpcMessage, maxMessageSize } from './frames.js';
import type { RawHeaders } from './raw-headers.js';
import { firstValue } from './raw-headers.js';

/** A PullImageRequest that could be read. */
export interface ReadPull {
  /** The message as it stands between prefix and end, uncompressed. */
  readonly bytes: Uint8Array;
  readonly request: PullImageRequest;
}

/** @returns why it cannot be read; it can be relayed all the same */
export async function readPull(message: GrpcMessage, raw: RawHeaders): Promise<ReadPull | string> {
  const bytes = await plainBytes(message, raw);
  if (typeof bytes === 'string') return bytes;
  try {
    return { bytes, request: fromBinary(PullImageRequestSchema, bytes) };
  } catch {
    // What the message holds may be a secret, and so may what a decoder says of it.
    return 'it is no PullImageRequest';
  }
}

/** @returns `image_ref` of an answer's body; empty where it cannot be read */
export async function readImageRef(body: Buffer, raw: RawHeaders): Promise<string> {
  if (body.length < framePrefix) return '';
  const message = { isCompressed: body[0] === 1, bytes: body.subarray(framePrefix) };
  const bytes = await plainBytes(message, raw);
  if (typeof bytes === 'string') return '';
  try {
    return fromBinary(PullImageResponseSchema, bytes).imageRef;
  } catch {
    return '';
  }
}

async function plainBytes(
  { bytes, isCompressed }: GrpcMessage,
  raw: RawHeaders,
): Promise<Uint8Array | string> {
  if (!isCompressed) return bytes;
  const encoding = firstValue(raw, 'grpc-encoding') ?? 'nothing';
  if (encoding !== 'gzip') return 'it is compressed in a way that is not known here';
  const plain = await new Promise<Buffer | undefined>((resolve) => {
    gunzip(bytes, { maxOutputLength: maxMessageSize }, (error, result) =>
      resolve(error ? undefined : result),
    );
  });
  return plain ?? 'it cannot be decompressed to at most 16 MiB';
}
