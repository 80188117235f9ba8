import { createHash } from 'node:crypto';
import type { Workspace } from './workspace.js';

/** Characters of a layer's file: a layer that is sent again stands out from manifests and configurations. */
const fileSize = 40_000;

/**
 * Writes what `docker build` and `buildah bud` make an image of, with a layer for each name. Lists that begin alike make
 * images that share layers, out of the cache of builds.
 *
 * @returns the directory
 */
export function buildContext(workspace: Workspace, layers: readonly string[]): string {
  for (const name of layers) workspace.file(`build/${name}`, incompressible(name));
  const copies = layers.map((name) => `COPY ${name} /${name}`);
  workspace.file('build/Dockerfile', ['FROM scratch', ...copies, 'CMD ["/program"]', ''].join('\n'));
  return workspace.path('build');
}

function incompressible(name: string): string {
  const bytes = createHash('shake256', { outputLength: fileSize / 2 })
    .update(name)
    .digest();
  return bytes.toString('latin1').padEnd(fileSize);
}
