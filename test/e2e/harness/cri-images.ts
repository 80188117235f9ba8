import { digestOf } from '../../../src/reference/digest.js';
import { type BlobContent, bytesOf, contentOf } from '../../../src/testing/blob-content.js';
import { mediaTypes, parseManifest } from '../../../src/testing/manifest-document.js';
import type { ImageFiles } from '../../../src/testing/memory-store.js';
import { tinyImageFor } from '../../../src/testing/tiny-image.js';

/** A linux/amd64 image of its own for each message. @param user as a Dockerfile's USER has it; none: root */
export function imageWithUser(message: string, user?: string): ImageFiles {
  const image = tinyImageFor('amd64', message);
  const config = configurationOf(image);
  const document = JSON.parse(bytesOf(config).toString('utf8')) as { config: object };
  const changed = contentOf(
    Buffer.from(JSON.stringify({ ...document, config: { ...document.config, ...(user && { User: user }) } })),
  );
  const described = { mediaType: mediaTypes.config, digest: changed.digest, size: changed.size };
  const bytes = Buffer.from(JSON.stringify({ ...parseManifest(image.root.bytes), config: described }));
  return {
    blobs: [changed, ...image.blobs.filter((blob) => blob !== config)],
    children: [],
    root: { digest: digestOf(bytes), mediaType: mediaTypes.manifest, bytes },
  };
}

/** Its digest is what runtimes call the image's id. @param image for one platform */
export function configurationOf({ blobs, root }: ImageFiles): BlobContent {
  const digest = parseManifest(root.bytes)?.config?.digest;
  const found = blobs.find((blob) => blob.digest === digest);
  if (found === undefined) throw new Error('an image has a configuration');
  return found;
}

/** Where images are put, past all proxies. */
export interface Store {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** `user:password`; a registry that is open to all needs none. */
  readonly credentials?: string;
}

/** Puts an image into a registry, as a push does. @throws an Error with what the registry answered otherwise */
export async function putImage(
  store: Store,
  repository: string,
  tags: readonly string[],
  { blobs, children, root }: ImageFiles,
): Promise<void> {
  const at = `/v2/${repository}`;
  for (const blob of blobs) await putBlob(store, at, blob);
  for (const { digest, mediaType, bytes } of children) {
    await send(store, 'PUT', `${at}/manifests/${digest}`, bytes, mediaType);
  }
  for (const tag of tags) await send(store, 'PUT', `${at}/manifests/${tag}`, root.bytes, root.mediaType);
}

async function putBlob(store: Store, at: string, blob: BlobContent): Promise<void> {
  const session = await send(store, 'POST', `${at}/blobs/uploads/`);
  const target = new URL(session.headers.get('location') ?? '', store.url);
  target.searchParams.set('digest', blob.digest);
  await send(store, 'PUT', target.href, bytesOf(blob), 'application/octet-stream');
}

async function send(
  { url, credentials }: Store,
  method: string,
  target: string,
  body?: Uint8Array,
  type?: string,
): Promise<Response> {
  const basic = credentials && `Basic ${Buffer.from(credentials).toString('base64')}`;
  const headers = { ...(type && { 'content-type': type }), ...(basic && { authorization: basic }) };
  const options = { method, headers, signal: AbortSignal.timeout(20_000), ...(body && { body }) };
  const answer = await fetch(new URL(target, url), options);
  if (!answer.ok) throw new Error(`${method} ${target}: ${answer.status} ${await answer.text()}`);
  await answer.body?.cancel();
  return answer;
}
