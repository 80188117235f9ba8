import { isDeepStrictEqual } from 'node:util';
import type { UnitState } from '../contracts/node.js';
import type { ArgumentsPath } from './node.js';
import { argumentsFilePath, ownVariable } from './own-files.js';

/** What kubelet's unit has to be like with our drop-in, beside what it was before. */
export interface ExpectedUnit {
  readonly dropIn: string;
  readonly executable: string;
  readonly argumentsPath: ArgumentsPath;
}

/**
 * Whether systemd understood our drop-in as it was meant: ours is there, and nothing else is different.
 *
 * @param before the unit as systemd saw it before our files were written, with or without an earlier drop-in of ours
 * @returns what is wrong, a sentence each
 */
export function verifyUnit(before: UnitState, after: UnitState, expected: ExpectedUnit): readonly string[] {
  const { dropIn, executable } = expected;
  const isOurs = (command: readonly string[]) =>
    command[0] === executable && command[1] === 'kubelet-arguments';
  const theirs = (commands: UnitState['execStartPre']) => commands.filter((command) => !isOurs(command));
  const otherFiles = (files: readonly string[]) => files.filter((file) => file !== argumentsFilePath);
  const checks: readonly (readonly [isFine: boolean, problem: string])[] = [
    [after.loadState === 'loaded', `systemd says of kubelet's unit that it is ${after.loadState}`],
    [!after.needsReload, 'systemd has not read the files of the unit as they are now'],
    [after.fragmentPath === before.fragmentPath, `the unit comes from ${after.fragmentPath} now`],
    [after.dropInPaths.includes(dropIn), `systemd does not use ${dropIn}`],
    [isSameCommand(before, after, expected), 'ExecStart is another command than before'],
    [hasVariable(after, expected.argumentsPath), 'ExecStart does not have the variable for our arguments'],
    [after.execStartPre.some(isOurs), 'the ExecStartPre that makes our arguments is missing'],
    [
      isDeepStrictEqual(theirs(after.execStartPre), theirs(before.execStartPre)),
      "another drop-in's ExecStartPre was lost",
    ],
    [environmentFiles(after).includes(argumentsFilePath), `EnvironmentFile=${argumentsFilePath} is missing`],
    [
      isDeepStrictEqual(otherFiles(environmentFiles(after)), otherFiles(environmentFiles(before))),
      "another drop-in's EnvironmentFile was lost",
    ],
  ];
  return checks.filter(([isFine]) => !isFine).map(([, problem]) => problem);
}

/** Some readers of D-Bus keep the `-` that says a file may be missing. */
const environmentFiles = (state: UnitState) => state.environmentFiles.map((file) => file.replace(/^-/, ''));

/** Where our earlier drop-in repeats a command that the platform has changed since, that one is no measure. */
function isSameCommand(
  before: UnitState,
  after: UnitState,
  { dropIn, argumentsPath }: ExpectedUnit,
): boolean {
  if (argumentsPath.kind === 'amend' || !before.dropInPaths.includes(dropIn)) {
    return isDeepStrictEqual(after.execStart.map(withoutOurs), before.execStart.map(withoutOurs));
  }
  const [command, ...more] = after.execStart;
  const program = programOf(argumentsPath.execStart);
  return more.length === 0 && (program === undefined || command?.[0] === program);
}

/** @returns undefined where the command has another name for itself (`@`, systemd.service(5)) */
function programOf(raw: string): string | undefined {
  const { prefix, quoted, word } =
    /^\s*(?<prefix>[-@:+!|]*)(?:(["'])(?<quoted>.*?)\2|(?<word>\S+))/.exec(raw)?.groups ?? {};
  return prefix?.includes('@') ? undefined : (quoted ?? word);
}

function hasVariable(after: UnitState, { variable }: ArgumentsPath): boolean {
  return after.execStart.some((command) => command.includes(`$${variable}`));
}

const withoutOurs = (command: readonly string[]) => command.filter((word) => word !== `$${ownVariable}`);
