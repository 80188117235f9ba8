import { parseEcrHost } from '../../reference/ecr-host.js';
import type { Preset } from './preset.js';

/** An account's private registry in one region. */
export const ecr: Preset = {
  name: 'ecr',
  hosts: [(host) => parseEcrHost(host)?.kind === 'private'],
  tokenOrigins: [],
  usualCredentials: 'ecr',
};

/**
 * Amazon ECR Public. It is asked anonymously where nothing else is configured: all of it is public, and whoever is
 * outside of AWS has no identity to show. With `type: ecr` its limits are higher.
 */
export const ecrPublic: Preset = {
  name: 'ecr-public',
  hosts: [(host) => parseEcrHost(host)?.kind === 'public'],
  tokenOrigins: ['https://public.ecr.aws', 'https://ecr-public.aws.com'],
};
