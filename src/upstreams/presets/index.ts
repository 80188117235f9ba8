import { dockerHub } from './docker-hub.js';
import { generic } from './generic.js';
import type { Preset } from './preset.js';

export type { Preset } from './preset.js';

/** Every preset. To add one, write its file and name it here. */
const presets: readonly Preset[] = [dockerHub];

/** The preset of an upstream, by its exact host. */
export function presetFor(upstream: URL): Preset {
  return presets.find((preset) => preset.hosts.includes(upstream.host)) ?? generic;
}
