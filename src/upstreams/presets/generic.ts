import type { Preset } from './preset.js';

/** Any registry that keeps to the specification. */
export const generic: Preset = { name: 'generic', hosts: [], tokenOrigins: [] };
