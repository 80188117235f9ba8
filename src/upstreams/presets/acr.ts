import { isAcrHost } from '../../reference/acr-host.js';
import type { Preset } from './preset.js';

/** Azure Container Registry: a login server, or its endpoint in one region. */
export const acr: Preset = { name: 'acr', hosts: [isAcrHost], tokenOrigins: [], usualCredentials: 'acr' };
