import { Option } from 'commander';

/** As `codeSources` of the configuration; written out, for to load what knows them would make each pull wait. */
const kinds = ['exec', 'module'] as const;

/** Of the commands that do what a configuration says. Given once for each. */
export function allowOption(): Option {
  return new Option('--allow <kind...>', 'let the configuration run programs (exec) or load code (module)')
    .choices(kinds)
    .default([], 'neither');
}
