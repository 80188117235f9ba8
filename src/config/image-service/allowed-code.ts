import { type DriverSite, siteOf } from '../driver-sites.js';
import { isMapping } from '../mapping.js';
import type { Finding } from '../problem.js';

/** What of a configuration runs code beside the program's own: a program, or a module that is loaded. */
export const codeSources = ['exec', 'module'] as const;
export type CodeSource = (typeof codeSources)[number];

/** What the command line allows of it: a file alone must not be enough to run code as root on a node. */
export type AllowedCode = readonly CodeSource[];

/** @returns why this place is refused; undefined where it is not */
export function refusedCode({ path, choice }: DriverSite, allow: AllowedCode): Finding | undefined {
  if (choice?.module !== undefined) {
    if (allow.includes('module')) return undefined;
    const message = `loads code into this program, which is root on a node: expected no module; --allow module lets it`;
    return { path: [...path, 'module'], message };
  }
  if (choice?.type !== 'exec' || allow.includes('exec')) return undefined;
  const message =
    'runs a program with the rights of this one, which is root on a node: expected another type; --allow exec lets it';
  return { path: [...path, 'type'], message };
}

/** The places of a raw configuration where a driver is chosen; what is no mapping the schema complains about. */
export function imageServiceSites(raw: unknown): readonly DriverSite<'runtime' | 'credential-source'>[] {
  const { runtime, images }: Readonly<Record<string, unknown>> = isMapping(raw) ? raw : {};
  const credentials = (Array.isArray(images) ? images : []).map((entry: unknown, i) =>
    isMapping(entry) && entry.credentials !== undefined
      ? siteOf('credential-source', ['images', i, 'credentials'], entry.credentials)
      : undefined,
  );
  const sites = [siteOf('runtime', ['runtime'], runtime), ...credentials];
  return sites.filter((site) => site !== undefined) as DriverSite<'runtime' | 'credential-source'>[];
}
