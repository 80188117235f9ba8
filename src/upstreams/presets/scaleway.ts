import type { Preset } from './preset.js';

/** Scaleway, one host a region: its tokens are those of its API (`/registry-internal/v1/regions/…/tokens`). */
export const scaleway: Preset = {
  name: 'scaleway',
  hosts: [/^rg\.[a-z]+-[a-z]+\.scw\.cloud$/],
  tokenOrigins: ['https://api.scaleway.com'],
};
