import { z } from 'zod';
import type { RuntimeImage } from '../../contracts/runtime.js';
import {
  type ImageReference,
  parseImageReference,
  printImageReference,
} from '../../reference/image-reference.js';
import type { ImagePattern } from '../../settings/image-pattern.js';

const names = z
  .array(z.string())
  .nullish()
  .transform((list) => list ?? []);
const summary = z.object({
  Id: z.string().min(1),
  RepoTags: names,
  RepoDigests: names,
  Size: z.number(),
});
const inspected = summary.extend({
  Config: z.object({ User: z.string().nullish() }).nullish(),
});

/** The answer of `GET /images/json`. @throws ZodError */
export function parseImageList(
  answer: unknown,
  pinned: readonly ImagePattern[],
): readonly Omit<RuntimeImage, 'user'>[] {
  return z
    .array(summary)
    .parse(answer)
    .map((record) => imageOf(record, pinned));
}

/** The answer of `GET /images/NAME/json`. @throws ZodError */
export function parseInspectedImage(answer: unknown, pinned: readonly ImagePattern[]): RuntimeImage {
  const record = inspected.parse(answer);
  const user = userOf(record.Config?.User ?? '');
  return { ...imageOf(record, pinned), ...(user && { user }) };
}

function imageOf(record: z.output<typeof summary>, pinned: readonly ImagePattern[]) {
  const tags = record.RepoTags.map(qualified).filter((name) => name !== undefined);
  const digests = record.RepoDigests.map(qualified).filter((name) => name !== undefined);
  return {
    id: record.Id,
    repoTags: tags.map(({ text }) => text),
    repoDigests: digests.map(({ text }) => text),
    // Kubelet takes an image of no bytes for none (an image from scratch without a layer has none).
    size: Math.max(1, Math.trunc(record.Size)),
    pinned: [...tags, ...digests].some(
      ({ parsed }) => parsed !== undefined && pinned.some((pattern) => pattern.matches(parsed)),
    ),
  };
}

/**
 * The engine prints `busybox:latest` for what every CRI runtime calls `docker.io/library/busybox:latest`: one image has
 * one name here, whatever runtime keeps it. An image without a name is `<none>:<none>` there.
 */
function qualified(text: string): { readonly text: string; readonly parsed?: ImageReference } | undefined {
  if (text.includes('<none>')) return undefined;
  try {
    const parsed = parseImageReference(text);
    return { text: printImageReference(parsed), parsed };
  } catch {
    return { text };
  }
}

/** `Config.User` of the image-spec: `uid`, `uid:gid`, `name`, `name:group`. */
function userOf(text: string): RuntimeImage['user'] | undefined {
  const [user = ''] = text.split(':');
  if (user === '') return undefined;
  const uid = /^\d+$/.test(user) ? Number(user) : Number.NaN;
  return Number.isSafeInteger(uid) ? { uid } : { username: user };
}
