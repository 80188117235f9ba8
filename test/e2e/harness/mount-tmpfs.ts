import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import type { Workspace } from './workspace.js';

/** A file system of so many bytes, which are soon full. It is gone with the workspace. @returns where it is */
export function mountTmpfs(workspace: Workspace, name: string, size: number): string {
  const path = workspace.path(name);
  mkdirSync(path, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'tmpfs', path]);
  workspace.onClose(async () => {
    execFileSync('umount', [path]);
  });
  return path;
}
