import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { imageServiceSites, refusedCode } from '../../config/image-service/allowed-code.js';
import { loadServedImageConfiguration } from '../../config/image-service/load.js';
import { inOrder } from '../../config/place-problems.js';
import { formatProblem } from '../../config/problem.js';
import { readYamlFile } from '../../config/yaml-file.js';
import { describeError } from '../../errors.js';
import type { Desired } from '../../node-installer/node.js';
import { CommandFailure } from '../command-failure.js';
import { readRulesFile } from '../credential-provider/rules-file.js';
import { exitCodes } from '../exit.js';
import { QuestionError } from '../question-error.js';
import { requireLoaded } from '../require-loaded.js';
import { version } from '../version.js';
import { type InstallOptions, nodePath, socketPath } from './install-options.js';
import { fileHash, ownProgram } from './own-program.js';

/** Bytes of one file beside a configuration, and how many there may be. */
const maxSize = 1024 * 1024;
const mostFiles = 128;

/**
 * What the command line asks for, with the configuration read and checked.
 *
 * @throws QuestionError, CommandFailure with the problems of the configuration
 */
export async function readDesired(options: InstallOptions): Promise<Desired> {
  const { mode, config, directory, chain, allow } = options;
  const socket = socketPath(options.socket);
  if (config === undefined && mode !== 'pod') {
    throw new QuestionError(`--config: is missing; mode ${mode} needs a configuration on the node`);
  }
  const configurationName = config === undefined ? 'config.yaml' : plainName(config);
  if (config !== undefined) await checkConfiguration(config, options, socket);
  const executable = options.executable ?? (await ownProgram());
  return {
    ...{ mode, socket, chain, allow, executable, version },
    ...(directory !== undefined && { directory: nodePath('--directory', directory) }),
    configuration: config === undefined ? new Map() : await filesBeside(config),
    configurationName,
    executableHash: await fileHash(executable).catch((error: unknown) => {
      throw new CommandFailure(`${executable} cannot be read: ${describeError(error)}`, exitCodes.failed);
    }),
  };
}

/** It stands in units. @throws QuestionError */
function plainName(config: string): string {
  const name = basename(config);
  if (/^[\w.-]+$/.test(name)) return name;
  throw new QuestionError('--config: expected the name of its file to have only letters, digits and . _ -');
}

/** Files that it names are looked for on the node, by those who need them: a container does not see them. */
async function checkConfiguration(
  file: string,
  { mode, allow }: InstallOptions,
  socket: string,
): Promise<void> {
  if (mode === 'host') {
    const { listen } = await requireLoaded((name) => loadServedImageConfiguration(name, allow), file);
    if ('path' in listen && listen.path === socket) return;
    const found = 'path' in listen ? `unix://${listen.path}` : 'a socket that is handed over';
    throw new QuestionError(`${file}: listen: is ${found}; --socket says ${socket}: expected the same`);
  }
  await readRulesFile(file, process.env, allow);
  const yaml = await readYamlFile(file);
  if ('problems' in yaml) throw new CommandFailure(`${file}: cannot be read any more`, exitCodes.usage);
  const findings = imageServiceSites(yaml.value).flatMap((site) => refusedCode(site, allow) ?? []);
  if (findings.length === 0) return;
  const problems = inOrder(
    findings.map((finding) => yaml.problem(finding)),
    file,
  );
  throw new CommandFailure(problems.map(formatProblem).join('\n'), exitCodes.usage);
}

/** All regular files of its directory by name; links are followed, for in a Kubernetes volume all of them are links. */
async function filesBeside(config: string): Promise<ReadonlyMap<string, string>> {
  const directory = dirname(resolve(config));
  const files = new Map<string, string>();
  for (const name of (await readdir(directory)).sort()) {
    if (name.startsWith('..')) continue;
    const path = join(directory, name);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined || !found.isFile()) continue;
    if (found.size > maxSize || files.size === mostFiles) {
      throw new CommandFailure(
        `${path}: all files beside the configuration are copied to the node: expected at most ${mostFiles}, of ${maxSize} bytes each; give it a directory of its own`,
        exitCodes.usage,
      );
    }
    files.set(name, decoded(path, await readFile(path)));
  }
  return files;
}

/** @throws CommandFailure */
function decoded(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new CommandFailure(
      `${path}: is no text: expected only the configuration and the files it names in its directory`,
      exitCodes.usage,
    );
  }
}
