import { shorten } from '../reference/repository-name.js';

/** Something wrong in a configuration file. Never holds a secret: messages say what was expected, not what was there. */
export interface Problem {
  readonly file: string;
  /** From 1; 0 where the file as a whole is meant. */
  readonly line: number;
  readonly column: number;
  /** `verifiers[1].file`; empty at the top. */
  readonly path: string;
  readonly message: string;
}

/** Where in the configuration, before lines and columns are known. */
export type SettingPath = readonly (string | number)[];

/** A problem found in the parsed value. */
export interface Finding {
  readonly path: SettingPath;
  readonly message: string;
  /** Whether the key or the value is to blame; `value` where it says nothing. */
  readonly at?: 'key' | 'value';
}

/** `file:line:column: path: message`, as editors and compilers understand it. */
export function formatProblem(problem: Problem): string {
  const place = problem.line === 0 ? problem.file : `${problem.file}:${problem.line}:${problem.column}`;
  return `${place}: ${problem.path === '' ? '' : `${problem.path}: `}${problem.message}`;
}

/** `upstreams.gcr.url`, `routes[0].prefix`; a key that is no plain word is quoted. */
export function printPath(path: SettingPath): string {
  return path
    .map((part, i) => {
      if (typeof part === 'number') return `[${part}]`;
      if (!/^[A-Za-z_][\w-]*$/.test(part)) return `["${shorten(part, 64)}"]`;
      return i === 0 ? part : `.${part}`;
    })
    .join('');
}
