import { readdirSync, readlinkSync } from 'node:fs';

/** What a process has open, by kind: `socket`, `file`, `anon_inode:inotify`, … */
export function openFiles(pid: number): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    const kind = kindOf(`/proc/${pid}/fd/${name}`);
    if (kind !== undefined) counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return Object.fromEntries(Object.entries(counts).sort());
}

/** @returns undefined where it was closed meanwhile */
function kindOf(link: string): string | undefined {
  try {
    const target = readlinkSync(link);
    return target.startsWith('/') ? 'file' : target.replace(/:?\[.*$/, '');
  } catch {
    return undefined;
  }
}
