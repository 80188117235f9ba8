// A registry in memory that answers as fast as Node can: what is measured is what stands before it.
//
// node bench/origin.mjs '{"key": FILE, "certificate": FILE}'      or {}; tells its port and its contents on standard output
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

const { key, certificate, layer = 256 * 1024 * 1024 } = JSON.parse(process.argv[2] ?? '{}');
const piece = Buffer.alloc(256 * 1024, 'a layer of an image. ');
const sha256 = (...parts) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return `sha256:${hash.digest('hex')}`;
};

const blobs = new Map();
/** A blob of repeated pieces is hashed piece by piece. */
function addLayer(size) {
  const hash = createHash('sha256');
  for (let at = 0; at < size; at += piece.length)
    hash.update(piece.subarray(0, Math.min(piece.length, size - at)));
  const digest = `sha256:${hash.digest('hex')}`;
  blobs.set(digest, { size });
  return digest;
}

const layerDigest = addLayer(layer);
const config = Buffer.from(
  JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } }),
);
blobs.set(sha256(config), { size: config.length, bytes: config });
const document = {
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  config: {
    mediaType: 'application/vnd.oci.image.config.v1+json',
    digest: sha256(config),
    size: config.length,
  },
  layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layerDigest, size: layer }],
  annotations: { 'com.example.filler': '' },
};
document.annotations['com.example.filler'] = 'x'.repeat(2048 - JSON.stringify(document).length);
const manifest = Buffer.from(JSON.stringify(document));
const digest = sha256(manifest);

function answer(request, response) {
  const { pathname } = new URL(request.url, 'http://origin');
  if (pathname === '/v2/') return response.end('{}');
  const [, kind, reference] = /^\/v2\/team\/app\/(manifests|blobs)\/(.+)$/.exec(pathname) ?? [];
  if (kind === 'manifests' && (reference === digest || reference === 'latest')) {
    response.writeHead(200, {
      'content-type': document.mediaType,
      'content-length': manifest.length,
      'docker-content-digest': digest,
      etag: `"${digest}"`,
    });
    return response.end(request.method === 'HEAD' ? undefined : manifest);
  }
  const blob = kind === 'blobs' ? blobs.get(reference) : undefined;
  if (blob === undefined) return response.writeHead(404).end();
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    'content-length': blob.size,
    'docker-content-digest': reference,
  });
  if (request.method === 'HEAD') return response.end();
  if (blob.bytes !== undefined) return response.end(blob.bytes);
  return send(response, blob.size);
}

function send(response, size) {
  let left = size;
  const more = () => {
    while (left > 0) {
      const part = left < piece.length ? piece.subarray(0, left) : piece;
      left -= part.length;
      if (!response.write(part)) return void response.once('drain', more);
    }
    response.end();
  };
  more();
}

const server =
  key === undefined
    ? createServer(answer)
    : createTlsServer({ key: readFileSync(key), cert: readFileSync(certificate) }, answer);
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  console.log(JSON.stringify({ port, manifest: digest, layer: layerDigest, size: layer }));
});
