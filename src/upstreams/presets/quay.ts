import type { Preset } from './preset.js';

/**
 * Quay.io, with tokens of its own host (`/v2/auth`). It cannot read a scope with `delete`, and lets delete whoever may
 * push (quay `endpoints/v2/v2auth.py`, `manifest.py`).
 */
export const quay: Preset = {
  name: 'quay',
  hosts: ['quay.io'],
  tokenOrigins: [],
  deleteActions: ['pull', 'push'],
  webPath: /^(?:organization|repository|user)\//,
};
