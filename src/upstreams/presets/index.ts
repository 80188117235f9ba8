import { acr } from './acr.js';
import { digitalOcean } from './digital-ocean.js';
import { dockerHub } from './docker-hub.js';
import { ecr, ecrPublic } from './ecr.js';
import { generic } from './generic.js';
import { ghcr } from './ghcr.js';
import { gitlab } from './gitlab.js';
import { artifactRegistry, gcr, gcrMirror } from './google.js';
import type { Preset } from './preset.js';
import { quay } from './quay.js';
import { scaleway } from './scaleway.js';

export type { Preset } from './preset.js';

/** Every preset. To add one, write its file and name it here. */
const presets: readonly Preset[] = [
  acr,
  artifactRegistry,
  digitalOcean,
  dockerHub,
  ecr,
  ecrPublic,
  gcr,
  gcrMirror,
  ghcr,
  gitlab,
  quay,
  scaleway,
];

/**
 * The preset of an upstream, by its whole host (threat 9). One with a port of its own is somebody else's.
 *
 * @returns `generic` where none is for it
 */
export function presetFor({ host }: URL): Preset {
  return presets.find(({ hosts }) => hosts.some((known) => isIts(known, host))) ?? generic;
}

function isIts(known: Preset['hosts'][number], host: string): boolean {
  if (typeof known === 'function') return known(host);
  return typeof known === 'string' ? known === host : known.test(host);
}
