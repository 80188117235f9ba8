import type { Preset } from './preset.js';

/** GitHub's container registry, with tokens of its own host (`/token`). */
export const ghcr: Preset = { name: 'ghcr', hosts: ['ghcr.io'], tokenOrigins: [] };
