import type { Preset } from './preset.js';

/** GitLab.com: its tokens are those of the web site (`/jwt/auth`). A GitLab of one's own needs `realm`. */
export const gitlab: Preset = {
  name: 'gitlab',
  hosts: ['registry.gitlab.com'],
  tokenOrigins: ['https://gitlab.com'],
};
