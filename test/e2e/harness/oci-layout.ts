import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { run, succeeded } from './command.js';
import type { Workspace } from './workspace.js';

/** An image on disk, as skopeo's `oci:DIRECTORY:latest` reads it. */
export interface OciLayout {
  readonly directory: string;
  /** Of the manifest. */
  readonly digest: string;
  /** Of the only layer. */
  readonly layerDigest: string;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/**
 * Makes an image of one layer with one file (OCI image-spec v1.1, "Image Layout").
 *
 * @param padding bytes that do not compress, to make the layer as large
 */
export async function makeOciLayout(
  workspace: Workspace,
  name: string,
  content = name,
  padding: Uint8Array = new Uint8Array(),
): Promise<OciLayout> {
  const directory = workspace.path('images', name);
  mkdirSync(join(directory, 'blobs/sha256'), { recursive: true });
  const tar = await tarOf(workspace, name, content, padding);
  const layer = blob(directory, gzipSync(tar), 'application/vnd.oci.image.layer.v1.tar+gzip');
  const config = json(directory, 'application/vnd.oci.image.config.v1+json', {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Cmd: ['/content'] },
    rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
  });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = json(directory, mediaType, { schemaVersion: 2, mediaType, config, layers: [layer] });
  const latest = { ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'latest' } };
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [latest] }));
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return { directory, digest: manifest.digest, layerDigest: layer.digest };
}

async function tarOf(
  workspace: Workspace,
  name: string,
  content: string,
  padding: Uint8Array,
): Promise<Buffer> {
  const tree = workspace.path('layers', name);
  mkdirSync(tree, { recursive: true });
  writeFileSync(join(tree, 'content'), content);
  writeFileSync(join(tree, 'padding'), padding);
  const archive = `${tree}.tar`;
  const fixed = ['--mtime=@0', '--owner=0', '--group=0', '--sort=name'];
  const made = run('tar', [...fixed, '-cf', archive, '-C', tree, '.'], { env: workspace.environment() });
  succeeded(await made);
  return readFileSync(archive);
}

function json(directory: string, mediaType: string, value: object): Descriptor {
  return blob(directory, Buffer.from(JSON.stringify(value)), mediaType);
}

function blob(directory: string, bytes: Buffer, mediaType: string): Descriptor {
  const digest = digestOf(bytes);
  writeFileSync(join(directory, 'blobs', digest.replace(':', '/')), bytes);
  return { mediaType, digest, size: bytes.length };
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
