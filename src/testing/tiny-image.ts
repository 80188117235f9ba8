import { gzipSync } from 'node:zlib';
import { type Digest, digestOf } from '../reference/digest.js';
import { type BlobContent, contentOf, contentOfParts, noise } from './blob-content.js';
import { type Descriptor, mediaTypes } from './manifest-document.js';
import type { ImageFiles, StoredManifest } from './memory-store.js';
import { tarHeader, tarOf, tarPadding } from './tar-file.js';
import { type Architecture, architectures, tinyElf } from './tiny-elf.js';

/** An OCI image index for linux/amd64 and linux/arm64 whose program prints `message` and exits with 0. */
export function tinyImage(message: string): ImageFiles {
  const images = architectures.map((architecture) => ({
    architecture,
    ...tinyImageFor(architecture, message),
  }));
  return {
    blobs: images.flatMap((image) => image.blobs),
    children: images.map((image) => image.root),
    root: indexOf(
      images.map(({ architecture, root }) => ({
        ...describe(root.mediaType, root.digest, root.bytes.length),
        platform: { os: 'linux', architecture },
      })),
    ),
  };
}

/** The same for one processor, without an index. */
export function tinyImageFor(architecture: Architecture, message: string): ImageFiles {
  return imageOf(architecture, [programLayer(architecture, message)]);
}

/**
 * A runnable linux/amd64 image with `layers` more layers, each an archive of one file of `size` pseudo-random bytes.
 * The layers are generated while they are read: they may be of gigabytes.
 */
export async function bigImage(options: {
  readonly layers: number;
  /** Bytes of one layer's file. */
  readonly size: number;
  readonly seed?: number;
  readonly message?: string;
}): Promise<ImageFiles> {
  const { layers, size, seed = 1, message = 'a big image\n' } = options;
  const more: Layer[] = [];
  for (let i = 0; i < layers; i++) {
    const blob = await contentOfParts([
      tarHeader(`noise-${seed}-${i}`, size, 0o644),
      noise(size, seed * 1000 + i),
      tarPadding(size, true),
    ]);
    more.push({ blob, mediaType: mediaTypes.layer, diffId: blob.digest });
  }
  return imageOf('amd64', [programLayer('amd64', message), ...more]);
}

/** An artifact that refers to another manifest (image-spec v1.1 manifest.md, "Guidelines for Artifact Usage"). */
export function artifactFor(subject: StoredManifest, artifactType: string, text: string): ImageFiles {
  const config = contentOf(Buffer.from('{}'));
  const layer = contentOf(Buffer.from(text));
  const root = manifestOf(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType,
    config: describe(mediaTypes.empty, config.digest, config.size),
    layers: [describe('text/plain', layer.digest, layer.size)],
    subject: describe(subject.mediaType, subject.digest, subject.bytes.length),
  });
  return { blobs: [config, layer], children: [], root };
}

interface Layer {
  readonly blob: BlobContent;
  readonly mediaType: string;
  /** Of the archive without compression (image-spec v1.1 config.md). */
  readonly diffId: Digest;
}

function programLayer(architecture: Architecture, message: string): Layer {
  const tar = tarOf('hello', tinyElf(architecture, message));
  return { blob: contentOf(stableGzip(tar)), mediaType: mediaTypes.gzipLayer, diffId: digestOf(tar) };
}

/** Stored, not deflated: the same bytes from every zlib. */
function stableGzip(bytes: Uint8Array): Buffer {
  const zipped = gzipSync(bytes, { level: 0 });
  zipped.set([0, 255], 8); // RFC 1952 section 2.3: no extra flags, unknown system
  return zipped;
}

function imageOf(architecture: Architecture, layers: readonly Layer[]): ImageFiles {
  const config = contentOf(
    Buffer.from(
      JSON.stringify({
        created: '2020-01-01T00:00:00Z',
        architecture,
        os: 'linux',
        config: { Entrypoint: ['/hello'] },
        rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
      }),
    ),
  );
  const root = manifestOf(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: describe(mediaTypes.config, config.digest, config.size),
    layers: layers.map(({ blob, mediaType }) => describe(mediaType, blob.digest, blob.size)),
  });
  return { blobs: [config, ...layers.map((layer) => layer.blob)], children: [], root };
}

function indexOf(manifests: readonly Descriptor[]): StoredManifest {
  return manifestOf(mediaTypes.index, { schemaVersion: 2, mediaType: mediaTypes.index, manifests });
}

function manifestOf(mediaType: string, document: unknown): StoredManifest {
  const bytes = Buffer.from(JSON.stringify(document));
  return { digest: digestOf(bytes), mediaType, bytes };
}

function describe(mediaType: string, digest: string, size: number): Descriptor {
  return { mediaType, digest, size };
}
