import type { KubeletUnit } from './found-unit.js';
import { readTimeSpan } from './time-span.js';
import { type Assignment, dropInOrder, parseUnit } from './unit-text.js';

/** Where the manager itself is configured, the first one wins; drop-ins are in folders beside it (systemd-system.conf(5)). */
export const managerDirectories = [
  '/etc/systemd',
  '/run/systemd',
  '/usr/local/lib/systemd',
  '/usr/lib/systemd',
  '/lib/systemd',
] as const;
export const managerName = 'system.conf';

export interface StartTimeout {
  /** As it is written: `TimeoutStartSec=5s`. */
  readonly setting: string;
  /** Milliseconds. */
  readonly time: number;
}

/** How long one command of a unit's start may take, where files say so; 0 and `infinity` mean for ever. */
export function startTimeoutOf(
  { assignments }: KubeletUnit,
  files: ReadonlyMap<string, string>,
): StartTimeout | undefined {
  const own = assignments.filter(
    ({ section, key }) => section === 'Service' && (key === 'TimeoutStartSec' || key === 'TimeoutSec'),
  );
  const usual = managerAssignments(files).filter(
    ({ section, key }) => section === 'Manager' && key === 'DefaultTimeoutStartSec',
  );
  return lastTime(own) ?? lastTime(usual);
}

function lastTime(assignments: readonly Assignment[]): StartTimeout | undefined {
  const times = assignments.flatMap(({ key, value }) => {
    const time = readTimeSpan(value);
    return time === undefined ? [] : [{ setting: `${key}=${value}`, time: time || Number.POSITIVE_INFINITY }];
  });
  return times.at(-1);
}

function managerAssignments(files: ReadonlyMap<string, string>): readonly Assignment[] {
  const main = managerDirectories.map((directory) => `${directory}/${managerName}`);
  const parts = managerDirectories.flatMap((directory) =>
    [...files.keys()].filter((path) => path.startsWith(`${directory}/${managerName}.d/`)),
  );
  const paths = [...main.filter((path) => files.has(path)).slice(0, 1), ...dropInOrder(parts)];
  return paths.flatMap((path) => parseUnit(files.get(path) ?? ''));
}
