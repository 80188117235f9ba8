import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bytesOf } from '../../../src/testing/blob-content.js';
import type { ImageFiles } from '../../../src/testing/memory-store.js';
import type { Workspace } from './workspace.js';

/** An image on disk, as skopeo's `oci:DIRECTORY:latest` reads it (OCI image-spec v1.1, "Image Layout"). */
export interface OciLayout {
  readonly directory: string;
  /** Of the manifest, or of the index. */
  readonly digest: string;
}

/** Writes a small image to the workspace. */
export function writeOciLayout(workspace: Workspace, name: string, image: ImageFiles): OciLayout {
  const directory = workspace.path('images', name);
  mkdirSync(join(directory, 'blobs/sha256'), { recursive: true });
  const write = (digest: string, bytes: Uint8Array) =>
    writeFileSync(join(directory, 'blobs', digest.replace(':', '/')), bytes);
  for (const blob of image.blobs) write(blob.digest, bytesOf(blob));
  for (const { digest, bytes } of [...image.children, image.root]) write(digest, bytes);
  const { digest, mediaType, bytes } = image.root;
  const annotations = { 'org.opencontainers.image.ref.name': 'latest' };
  const manifests = [{ mediaType, digest, size: bytes.length, annotations }];
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return { directory, digest };
}
