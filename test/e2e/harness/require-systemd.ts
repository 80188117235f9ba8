import { existsSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { requireProgram } from '../../../src/testing/programs.js';

/** What `SystemdNode` needs. @returns false where something is missing: the test was skipped then; return */
export function requireSystemd(t: TestContext): boolean {
  const programs = ['unshare', 'nsenter', 'mount', 'find', 'bash'] as const;
  const packages = {
    unshare: 'util-linux',
    nsenter: 'util-linux',
    mount: 'mount',
    find: 'findutils',
    bash: 'bash',
  };
  if (!programs.every((program) => requireProgram(t, program, packages[program]) !== undefined)) return false;
  const reason = missing();
  if (reason === undefined) return true;
  if (process.env.REQUIRE_PROGRAMS === '1') throw new Error(reason);
  t.skip(reason);
  return false;
}

function missing(): string | undefined {
  if (!existsSync('/lib/systemd/systemd')) return 'systemd is not installed: apt-get install systemd';
  if (process.getuid?.() !== 0) return 'systemd in namespaces of its own: only as root';
  return undefined;
}
