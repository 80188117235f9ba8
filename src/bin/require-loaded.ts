import { formatProblem } from '../config/problem.js';
import { CommandFailure } from './command-failure.js';
import { exitCodes } from './exit.js';
import type { LoadConfiguration } from './reloader.js';

/** @throws CommandFailure with all problems of the configuration, a line each */
export async function requireLoaded<C>(load: LoadConfiguration<C>, file: string): Promise<C> {
  const loaded = await load(file);
  if ('configuration' in loaded) return loaded.configuration;
  throw new CommandFailure(loaded.problems.map(formatProblem).join('\n'), exitCodes.usage);
}
