import { environmentValue } from './environment-text.js';
import { splitWords } from './unit-words.js';

export interface ArgumentsFile {
  /** Of kubelet's command line. */
  readonly variable: string;
  /** Its value in the unit's environment now. */
  readonly present: string | undefined;
  /** Each one word without white space. None: nothing is written. */
  readonly flags: readonly string[];
}

/** @returns an EnvironmentFile (systemd.exec(5)) that adds flags to a variable; empty where it has to stay as it is */
export function argumentsFile({ variable, present = '', flags }: ArgumentsFile): string {
  if (flags.length === 0) return '';
  // An open quote would take our flags into somebody else's, and kubelet would not start.
  if (splitWords(present) === undefined) return '';
  const value = [...(present.trim() === '' ? [] : [present]), ...flags].join(' ');
  return `${variable}=${environmentValue(value)}\n`;
}
