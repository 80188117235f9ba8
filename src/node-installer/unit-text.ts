/** A line of a unit, `KEY=VALUE`, with those that continue it. */
export interface Assignment {
  /** Without brackets; empty before the first one. */
  readonly section: string;
  readonly key: string;
  /** As systemd reads it: continued lines are one, with a space between them; trimmed. */
  readonly value: string;
  /** What stands behind `=`, byte for byte, without the last line break; comments at its end are no part of it. */
  readonly raw: string;
}

/** Reads a unit or a drop-in (systemd.syntax(7)). Lines that systemd would take no notice of are left out. */
export function parseUnit(text: string): readonly Assignment[] {
  const assignments: Assignment[] = [];
  let section = '';
  for (const { logical, raw } of entriesOf(text)) {
    const header = /^\[(?<name>[^\]]+)\]$/.exec(logical.trim())?.groups?.name;
    if (header !== undefined) {
      section = header;
      continue;
    }
    const equals = logical.indexOf('=');
    if (equals < 1) continue;
    const key = logical.slice(0, equals).trim();
    assignments.push({
      section,
      key,
      value: logical.slice(equals + 1).trim(),
      raw: raw.slice(raw.indexOf('=') + 1),
    });
  }
  return assignments;
}

interface Entry {
  readonly logical: string;
  readonly raw: string;
}

const comment = /^\s*[#;]/;

/** Comments may stand between the lines of an entry: systemd leaves them out, and goes on with the entry. */
function entriesOf(text: string): readonly Entry[] {
  const entries: Entry[] = [];
  let logical: string | undefined;
  let raw: string[] = [];
  let comments: string[] = [];
  const finish = () => {
    if (logical !== undefined) entries.push({ logical, raw: raw.join('\n') });
    logical = undefined;
    raw = [];
    comments = [];
  };
  for (const line of text.replace(/^\uFEFF/, '').split('\n')) {
    if (comment.test(line)) {
      if (logical !== undefined) comments.push(line);
      continue;
    }
    const isContinued = endsEscaped(line);
    logical = `${logical ?? ''}${isContinued ? `${line.slice(0, -1)} ` : line}`;
    raw = [...raw, ...comments, line];
    comments = [];
    if (!isContinued) finish();
  }
  finish();
  return entries;
}

function endsEscaped(line: string): boolean {
  return /(?:^|[^\\])(?:\\\\)*\\$/.test(line);
}

/** What a unit has in the end of a setting that may stand there several times: an empty one takes all before it away. */
export function listOf(assignments: readonly Assignment[], key: string): readonly Assignment[] {
  const all = assignments.filter((one) => one.section === 'Service' && one.key === key);
  return all.slice(all.findLastIndex(({ value }) => value === '') + 1);
}

/** What a unit has in the end of a setting that counts once. */
export function lastOf(assignments: readonly Assignment[], key: string): string | undefined {
  return assignments.findLast((one) => one.section === 'Service' && one.key === key)?.value;
}

const setups = ['/etc/systemd/system', '/run/systemd/system', '/usr/local/lib/systemd/system'] as const;
const vendors = ['/usr/lib/systemd/system', '/lib/systemd/system'] as const;

/** Where units and drop-ins are looked for, the first one wins (systemd.unit(5), UNIT FILE LOAD PATH). */
export const unitDirectories: readonly string[] = [
  '/etc/systemd/system.control',
  '/run/systemd/system.control',
  '/run/systemd/transient',
  '/run/systemd/generator.early',
  setups[0],
  setups[1],
  '/run/systemd/generator',
  setups[2],
  ...vendors,
  '/run/systemd/generator.late',
];

/** Made anew by a program whenever systemd loads its units, or gone when they stop. */
export function isGenerated(path: string): boolean {
  return /^\/run\/systemd\/(?:generator|transient)/.test(path);
}

/**
 * The folders of drop-ins of a unit, those of its own name before those of all services; `k3s-.service.d` is for all
 * that begin so.
 */
export function dropInFolders(unit: string): readonly string[] {
  const name = unit.replace(/\.service$/, '');
  const parts = name.split('-');
  const prefixes = parts.slice(1).map((_, at) => `${parts.slice(0, parts.length - 1 - at).join('-')}-`);
  return [...[name, ...prefixes].map((one) => `${one}.service.d`), 'service.d'];
}

/**
 * Of drop-ins with one name the first counts, and all are read in the order of their names, whatever folder they are in.
 *
 * @param paths of those that are there, in the order of `dropInFolders` and then of `unitDirectories`
 */
export function dropInOrder(paths: readonly string[]): readonly string[] {
  const byName = new Map<string, string>();
  for (const path of paths) {
    const name = baseName(path);
    if (!byName.has(name)) byName.set(name, path);
  }
  return [...byName].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
