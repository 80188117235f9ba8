import type { Preset } from './preset.js';

/** DigitalOcean: its tokens are those of its API (`/v2/registry/auth`). */
export const digitalOcean: Preset = {
  name: 'digital-ocean',
  hosts: ['registry.digitalocean.com'],
  tokenOrigins: ['https://api.digitalocean.com'],
};
