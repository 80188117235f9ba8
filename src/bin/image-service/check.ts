import type { AllowedCode } from '../../config/image-service/allowed-code.js';
import type { ImageServiceConfiguration } from '../../config/image-service/configuration.js';
import { loadImageServiceConfiguration } from '../../config/image-service/load.js';
import { formatProblem } from '../../config/problem.js';
import { CommandFailure } from '../command-failure.js';
import type { CommandProcess } from '../command-process.js';
import { exitCodes } from '../exit.js';
import { Opener, OpeningError, type Surroundings } from '../opener.js';
import { requireLoaded } from '../require-loaded.js';
import { directoryWarnings, fileWarnings } from './file-warnings.js';
import { openRule } from './open-rules.js';
import { imageServiceWarnings } from './warnings.js';

export interface CheckOptions {
  readonly config: string;
  readonly allow: AllowedCode;
}

/**
 * `kubelet-image-service check`: all problems that can be found without a connection, and what is likely a mistake.
 *
 * @throws CommandFailure with the problems, a line each
 */
export async function checkImageService(
  { config: file, allow }: CheckOptions,
  surroundings: Surroundings,
  { stdout, stderr }: Pick<CommandProcess, 'stdout' | 'stderr'>,
): Promise<void> {
  const configuration = await requireLoaded(
    (name) => loadImageServiceConfiguration(name, undefined, undefined, allow),
    file,
  );
  const problems = await openingProblems(configuration, surroundings);
  if (problems.length > 0) throw new CommandFailure(problems.join('\n'), exitCodes.usage);
  const warnings = [
    ...(await fileWarnings(configuration)),
    ...(await directoryWarnings(configuration)),
    ...imageServiceWarnings(configuration),
  ];
  for (const { setting, message } of warnings) {
    stderr.write(`warning: ${formatProblem({ ...configuration.placeOf(setting), message })}\n`);
  }
  const isForServe = configuration.runtime !== undefined;
  stdout.write(`${file}: ${isForServe ? 'fine' : 'fine for credential-provider; serve needs runtime'}\n`);
}

/**
 * What only opening can tell. Opens the credential sources, which asks nobody, and closes them again; not the runtime,
 * which begins to connect when it is opened.
 *
 * @returns one line a problem
 */
export async function openingProblems(
  configuration: ImageServiceConfiguration,
  surroundings: Surroundings,
): Promise<readonly string[]> {
  const opener = new Opener(configuration, surroundings);
  const problems: string[] = [];
  for (const setting of configuration.images) {
    try {
      await openRule(opener, setting);
    } catch (error) {
      if (!(error instanceof OpeningError)) throw error;
      problems.push(formatProblem({ ...configuration.placeOf(error.setting), message: error.text }));
    }
  }
  await opener.close();
  return problems;
}
