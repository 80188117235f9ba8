import type { TestContext } from 'node:test';
import { requireProgram } from '../../../src/testing/programs.js';

/** The programs of the tests, and the Debian packages that bring them. */
const packages = {
  buildah: 'buildah',
  containerd: 'containerd',
  ctr: 'containerd',
  debootstrap: 'debootstrap',
  docker: 'docker.io',
  'docker-registry': 'docker-registry',
  dockerd: 'docker.io',
  htpasswd: 'apache2-utils',
  openssl: 'openssl',
  podman: 'podman',
  skopeo: 'skopeo',
  slapd: 'slapd',
  unshare: 'util-linux',
} as const;

/** Those that run as root only. */
const forRoot: readonly string[] = ['containerd', 'dockerd', 'podman', 'buildah', 'unshare', 'debootstrap'];

/** What every test needs to fill a registry. */
const always = ['docker-registry', 'htpasswd', 'skopeo'] as const;

/** @returns false where one is missing, or we may not run it: the test was skipped then; return */
export function requirePrograms(t: TestContext, ...programs: readonly (keyof typeof packages)[]): boolean {
  const wanted = [...always, ...programs];
  if (!wanted.every((program) => requireProgram(t, program, packages[program]) !== undefined)) return false;
  const reserved = wanted.filter((program) => forRoot.includes(program));
  if (reserved.length === 0 || process.getuid?.() === 0) return true;
  const reason = `${reserved.join(', ')}: only as root`;
  if (process.env.REQUIRE_PROGRAMS === '1') throw new Error(reason);
  t.skip(reason);
  return false;
}
