import { readEnvironmentFile } from './environment-text.js';
import { withoutBlock } from './own-block.js';
import { argumentsDirectory, dropInPath, kubeletUnits } from './own-files.js';
import {
  type Assignment,
  baseName,
  dropInFolders,
  dropInOrder,
  listOf,
  parseUnit,
  unitDirectories,
} from './unit-text.js';
import { expandWords, splitWords } from './unit-words.js';

/** A unit that a kubelet may run in, as it is without us. */
export interface KubeletUnit {
  /** `kubelet.service`, `k3s.service`, … */
  readonly unit: string;
  readonly fragmentPath: string;
  /** Those of others. */
  readonly dropInPaths: readonly string[];
  /** An empty file, or a link to /dev/null. */
  readonly isMasked: boolean;
  /** Of all its files, in the order in which systemd reads them. */
  readonly assignments: readonly Assignment[];
  /** Of drop-ins that are read after ours. */
  readonly laterAssignments: readonly Assignment[];
}

/** @param files as a snapshot has them: one that is masked is an empty text */
export function findUnits(files: ReadonlyMap<string, string>): readonly KubeletUnit[] {
  return kubeletUnits.flatMap((unit) => {
    const fragmentPath = unitDirectories
      .map((directory) => `${directory}/${unit}`)
      .find((path) => files.has(path));
    return fragmentPath === undefined ? [] : [readUnit(unit, fragmentPath, files)];
  });
}

function readUnit(unit: string, fragmentPath: string, files: ReadonlyMap<string, string>): KubeletUnit {
  const own = dropInPath(unit);
  const text = files.get(fragmentPath) ?? '';
  const paths = dropInOrder(dropInsOf(unit, [...files.keys()]));
  const parsed = paths.map((path) => ({ path, assignments: parseUnit(theirs(files.get(path) ?? '')) }));
  return {
    unit,
    fragmentPath,
    dropInPaths: paths.filter((path) => path !== own),
    isMasked: text.trim() === '',
    assignments: [...parseUnit(text), ...parsed.flatMap(({ assignments }) => assignments)],
    laterAssignments: parsed
      .filter(({ path }) => baseName(path) > baseName(own))
      .flatMap(({ assignments }) => assignments),
  };
}

/** What stands beside our block in a file, also in our own one, counts like any other's. */
function theirs(text: string): string {
  return withoutBlock(text) ?? '';
}

/** @returns in the order of their precedence */
function dropInsOf(unit: string, paths: readonly string[]): readonly string[] {
  return dropInFolders(unit).flatMap((folder) =>
    unitDirectories.flatMap((directory) => {
      const prefix = `${directory}/${folder}/`;
      return paths.filter(
        (path) => path.startsWith(prefix) && /^[^/]+\.conf$/.test(path.slice(prefix.length)),
      );
    }),
  );
}

/** The commands of ExecStart. */
export function commandsOf({ assignments }: KubeletUnit): readonly Assignment[] {
  return listOf(assignments, 'ExecStart');
}

/** What systemd takes before a command's path (systemd.service(5), table "Special executable prefixes"). */
const prefixes = /^[-@:+!|]+/;

export interface CommandWords {
  readonly prefix: string;
  /** Variables as they are written, with `$`. */
  readonly words: readonly string[];
}

/** @returns undefined where a quote is open, or there is more than one command in the line */
export function commandWords({ value }: Assignment): CommandWords | undefined {
  const [first, ...others] = splitWords(value) ?? [];
  if (first === undefined || others.includes(';')) return undefined;
  const prefix = prefixes.exec(first)?.[0] ?? '';
  return { prefix, words: [first.slice(prefix.length), ...others] };
}

/** The paths of its EnvironmentFile settings, without `-`; patterns and specifiers other than `%N` and `%n` are left out. */
export function environmentPaths({ unit, assignments }: KubeletUnit): readonly string[] {
  return listOf(assignments, 'EnvironmentFile')
    .map(({ value }) => value.replace(/^-/, ''))
    .map((path) => path.replaceAll('%N', unit.replace(/\.service$/, '')).replaceAll('%n', unit))
    .filter((path) => path.startsWith('/') && !/[*?[%]/.test(path) && !path.startsWith(argumentsDirectory));
}

/** What kubelet would be started with now, as far as files say it. */
export function argumentsByFiles(unit: KubeletUnit, files: ReadonlyMap<string, string>): readonly string[] {
  const [command] = commandsOf(unit);
  const words = command && commandWords(command)?.words;
  if (words === undefined) return [];
  const environment = new Map<string, string>();
  for (const { value } of listOf(unit.assignments, 'Environment')) {
    for (const word of splitWords(value) ?? []) {
      const equals = word.indexOf('=');
      if (equals > 0) environment.set(word.slice(0, equals), word.slice(equals + 1));
    }
  }
  for (const path of environmentPaths(unit)) {
    for (const [name, value] of readEnvironmentFile(files.get(path) ?? '')) environment.set(name, value);
  }
  return expandWords(words, environment);
}

/** The last value of a flag, `--flag=value` or `--flag value`: the last one counts. */
export function flagValue(
  argv: readonly string[],
  flag: string,
  isWanted: (value: string) => boolean = () => true,
): string | undefined {
  const values = argv.flatMap((word, at) => {
    if (word.startsWith(`${flag}=`)) return [word.slice(flag.length + 1)];
    return word === flag ? argv.slice(at + 1, at + 2) : [];
  });
  return values.findLast(isWanted);
}
