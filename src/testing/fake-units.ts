// Units as systemd reads them, in miniature: what the fake node needs of systemd.unit(5), and no more.

/** Texts by path. */
export type Texts = ReadonlyMap<string, { readonly text: string }>;

export interface ReadUnit {
  readonly fragmentPath: string;
  readonly dropInPaths: readonly string[];
  /** All of its texts: what tells whether a reload is needed. */
  readonly source: string;
  readonly execStart: readonly string[];
  readonly execStartPre: readonly (readonly string[])[];
  /** With `-` before those that may be missing. */
  readonly environmentFiles: readonly string[];
  readonly runtimeDirectories: readonly string[];
  readonly after: readonly string[];
}

const directories = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];

/** @returns undefined where there is none of that name */
export function readUnit(files: Texts, name: string): ReadUnit | undefined {
  const fragmentPath = directories.map((directory) => `${directory}/${name}`).find((path) => files.has(path));
  if (fragmentPath === undefined) return undefined;
  const folders = directories.map((directory) => `${directory}/${name}.d/`);
  const dropInPaths = [...files.keys()]
    .filter((path) => path.endsWith('.conf') && folders.some((folder) => path.startsWith(folder)))
    .sort((a, b) => (a.split('/').at(-1) ?? '').localeCompare(b.split('/').at(-1) ?? ''));
  const texts = [fragmentPath, ...dropInPaths].map((path) => `${files.get(path)?.text}\n`);
  const source = texts.join('\0');
  const lines = texts
    .join('')
    .replace(/\\\n\s*/g, ' ')
    .split('\n');
  return {
    fragmentPath,
    dropInPaths,
    source,
    execStart: wordsOf(listOf(lines, 'ExecStart').at(-1) ?? ''),
    execStartPre: listOf(lines, 'ExecStartPre').map(wordsOf),
    environmentFiles: listOf(lines, 'EnvironmentFile'),
    runtimeDirectories: listOf(lines, 'RuntimeDirectory'),
    after: listOf(lines, 'After').flatMap((names) => names.split(/\s+/)),
  };
}

/** An empty assignment begins a list anew. */
function listOf(lines: readonly string[], key: string): readonly string[] {
  const values = lines
    .filter((line) => line.startsWith(`${key}=`))
    .map((line) => line.slice(key.length + 1).trim());
  return values.slice(values.lastIndexOf('') + 1);
}

function wordsOf(command: string): readonly string[] {
  const words = command.match(/"[^"]*"|'[^']*'|\S+/g) ?? [];
  return words.map((word, at) =>
    (at === 0 ? word.replace(/^[-@:+!]+/, '') : word).replace(/^(["'])(.*)\1$/, '$2'),
  );
}

/** `KEY=VALUE` and `KEY="VALUE"`. */
export function readEnvironment(text: string): ReadonlyMap<string, string> {
  const lines = text.split('\n').filter((line) => /^\w+=/.test(line));
  return new Map(
    lines.map((line) => {
      const [key = ''] = line.split('=', 1);
      return [key, line.slice(key.length + 1).replace(/^"(.*)"$/, '$1')] as const;
    }),
  );
}

/** The words of a command with its variables. */
export function expand(
  words: readonly string[],
  environment: ReadonlyMap<string, string>,
): readonly string[] {
  return words.flatMap((word) => {
    const variable = /^\$(\w+)$/.exec(word)?.[1];
    if (variable === undefined) return [word];
    return (environment.get(variable) ?? '').split(/\s+/).filter(Boolean);
  });
}
