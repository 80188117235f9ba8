import { readdirSync, readFileSync } from 'node:fs';

/** What the operating system has counted for a process and its children. */
export interface ProcessUsage {
  /** Seconds, user and system. */
  readonly cpu: number;
  /** Bytes of resident memory, at its most; a sum for several processes. */
  readonly peak: number;
}

/** Of Linux on every architecture that Node knows (`getconf CLK_TCK`). */
const ticksOfSecond = 100;

/** @param pid with all of its descendants, such as nginx's workers. Processes that have ended are not in it */
export function usageOf(pid: number): ProcessUsage {
  const all = [pid, ...descendants(pid)].map(usageOfOne);
  return {
    cpu: all.reduce((sum, { cpu }) => sum + cpu, 0),
    peak: all.reduce((sum, { peak }) => sum + peak, 0),
  };
}

function usageOfOne(pid: number): ProcessUsage {
  // After the name, which may have blanks and brackets (proc_pid_stat(5)): utime and stime are fields 14 and 15.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  const peak = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return {
    cpu: (Number(fields[11]) + Number(fields[12])) / ticksOfSecond,
    peak: Number(peak) * 1024,
  };
}

function descendants(pid: number): readonly number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
  return children.flatMap((child) => [child, ...descendants(child)]);
}
