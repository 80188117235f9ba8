import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { FilesystemUsage, RuntimeImage } from '../../contracts/runtime.js';
import { type FilesystemUsageSchema, type Image, ImageSchema } from './runtime_pb.js';

const nanosecondsOfMillisecond = 1_000_000n;

/** Kubelet takes an image without id or with size 0 for none. */
export function imageMessage({ id, repoTags, repoDigests, size, user, pinned }: RuntimeImage): Image {
  return create(ImageSchema, {
    id,
    repoTags: [...repoTags],
    repoDigests: [...repoDigests],
    size: wholeNumber(size) || 1n,
    ...(user && ('uid' in user ? { uid: { value: BigInt(user.uid) } } : { username: user.username })),
    pinned,
  });
}

/** `used_bytes` and `fs_id` are always there: kubelet looks into them without a question. */
export function usageMessage(usage: FilesystemUsage): MessageInitShape<typeof FilesystemUsageSchema> {
  return {
    timestamp: wholeNumber(usage.timestamp) * nanosecondsOfMillisecond,
    fsId: { mountpoint: usage.mountpoint },
    usedBytes: { value: wholeNumber(usage.usedBytes) },
    inodesUsed: { value: wholeNumber(usage.inodesUsed) },
  };
}

/** What a runtime measures may be off by a fraction, or not be known. */
function wholeNumber(value: number): bigint {
  return Number.isFinite(value) && value > 0 ? BigInt(Math.round(value)) : 0n;
}
