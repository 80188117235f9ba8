import { mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { CodeSource } from '../../config/image-service/allowed-code.js';
import { describeError } from '../../errors.js';
import { argumentsFilePath } from '../../node-installer/own-files.js';

/** Of the command line, which the drop-in has. All may be missing: whatever it is, kubelet has to start. */
export interface KubeletArgumentsOptions {
  readonly mode?: string;
  readonly variable?: string;
  readonly endpoint?: string;
  /** What the node has of its own: a file, or a directory of them. */
  readonly providerConfig?: string;
  readonly providerBinDirectory?: string;
  readonly config?: string;
  readonly allow?: readonly CodeSource[];
  /** The EnvironmentFile of kubelet's unit. */
  readonly write?: string;
}

export interface ArgumentsSurroundings {
  readonly environment: NodeJS.ProcessEnv;
  readonly stderr: { write(text: string): unknown };
  /** Milliseconds left for all of it. */
  readonly patience: number;
  /** Where starts are counted; absent: where the node has it, for its own kubelet alone. */
  readonly startsFile?: string;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/** Milliseconds from the process's start on: systemd would wait 90 s, and then kubelet would not start at all. */
export const longestTime = 10_000;
/** Milliseconds kept for writing. */
const reserve = 1_000;
/** In pod mode nobody can answer before kubelet has started the pod. */
const podPatience = 3_000;

/** What kubelet gets beside what it has, and what has to be there for that. */
interface Added {
  readonly flags: readonly string[];
}

/**
 * Writes what kubelet of this start is given of ours; nothing, where that would not work. Never rejects, and ends in
 * time unless the file system does not answer.
 *
 * @returns whether it ended in time: what did not may still be at work
 */
export async function writeKubeletArguments(
  options: KubeletArgumentsOptions,
  surroundings: ArgumentsSurroundings,
): Promise<boolean> {
  const { stderr, patience } = surroundings;
  const { write, variable } = options;
  const tell = (error: unknown) =>
    void stderr.write(`kubelet starts without the image service: ${describeError(error)}\n`);
  let isLate = false;
  const work = async () => {
    if (write === undefined) throw new Error('--write is missing');
    // First of all, what another start may have left.
    await rm(write, { force: true });
    const text = await argumentsText(options, surroundings).catch((error: unknown) => {
      tell(error);
      return '';
    });
    if (!isLate) await writeWhole(write, text);
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      isLate = true;
      tell(
        new Error(`it took longer than ${longestTime / 1000} s to tell whether ${variable} can have more`),
      );
      resolve();
    }, patience);
  });
  await Promise.race([work().catch(tell), late]);
  clearTimeout(timer);
  return !isLate;
}

async function argumentsText(
  options: KubeletArgumentsOptions,
  { environment, patience, startsFile, now = Date.now }: ArgumentsSurroundings,
): Promise<string> {
  const { mode, variable, write } = options;
  if (variable === undefined || !/^[A-Za-z_]\w*$/.test(variable)) {
    throw new Error('--variable: expected the name of a variable');
  }
  const { flags } =
    mode === 'credential-provider'
      ? await providerFlags(options, environment)
      : await endpointFlags(options, patience - reserve);
  const { argumentsFile } = await import('../../node-installer/kubelet-arguments.js');
  const text = argumentsFile({ variable, present: environment[variable], flags });
  if (text === '') throw new Error(`the value of ${variable} has a quote that is not closed`);
  const { kubeletStartsFile } = await import('../../node-installer/kubelet-starts.js');
  const file = startsFile ?? (write === argumentsFilePath ? kubeletStartsFile : undefined);
  if (file !== undefined) await countOrHold(file, now());
  return text;
}

/**
 * A kubelet may end because of our arguments although the endpoint is well: a version that does not know the flag, say.
 *
 * @throws where it was started with them too often; not where the count cannot be read or written
 */
async function countOrHold(file: string, now: number): Promise<void> {
  const { countStart, holdLeft, parseStarts } = await import('../../node-installer/kubelet-starts.js');
  const state = countStart(parseStarts(await readFile(file, 'utf8').catch(() => undefined)), now);
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    .then(() => writeWhole(file, `${JSON.stringify(state)}\n`))
    .catch(() => undefined);
  const left = holdLeft(state, now);
  if (left === 0) return;
  throw new Error(
    `kubelet was started with it again and again, and did not stay; it is not tried for ${Math.ceil(left / 60_000)} min`,
  );
}

/** @throws where kubelet could not start with the endpoint, in one line */
async function endpointFlags({ mode, endpoint }: KubeletArgumentsOptions, left: number): Promise<Added> {
  if (endpoint === undefined) throw new Error('--endpoint is missing');
  const { probe } = await import('../image-service/probe.js');
  const time = Math.max(Math.floor(mode === 'pod' ? Math.min(left, podPatience) : left), 1);
  const why = await probe({ endpoint, timeout: `${time}ms` });
  if (why !== undefined) throw new Error(why);
  return { flags: [`--image-service-endpoint=${endpoint}`] };
}

/** Makes the merged configuration, and a directory with the node's plugins and ours. @throws in one line */
async function providerFlags(
  { config, allow, providerConfig, providerBinDirectory, write = '' }: KubeletArgumentsOptions,
  environment: NodeJS.ProcessEnv,
): Promise<Added> {
  if (config === undefined) throw new Error('--config is missing');
  const directory = dirname(write);
  const [bin, file] = [join(directory, 'bin'), join(directory, 'credential-provider.yaml')];
  const { readProviderSources } = await import('./provider-sources.js');
  const present = providerConfig === undefined ? [] : await readProviderSources(providerConfig);
  if (present.length > 0 && providerBinDirectory === undefined) {
    throw new Error('--provider-bin-directory is missing');
  }
  const { readRulesFile } = await import('../credential-provider/rules-file.js');
  const { printKubeletConfig } = await import('../credential-provider/kubelet-config.js');
  const own = printKubeletConfig(await readRulesFile(config, environment), { binDir: bin });
  const { mergeProviders } = await import('../../node-installer/merged-providers.js');
  const { withAllowed } = await import('./provider-sources.js');
  const merged = mergeProviders(present, withAllowed(own, allow ?? []));
  const { ownProgram } = await import('./own-program.js');
  const program = await ownProgram();
  const target = (name: string) =>
    merged.ownNames.includes(name) ? program : join(providerBinDirectory ?? '', name);
  await rm(bin, { recursive: true, force: true });
  await mkdir(bin, { mode: 0o755 });
  for (const name of merged.names) {
    // Kubelet does not start where one is missing, and it may know better where its own are.
    await stat(target(name)).catch(() => {
      throw new Error(`${target(name)} of the node's own providers is not there`);
    });
    await symlink(target(name), join(bin, name));
  }
  await writeWhole(file, merged.text);
  return {
    flags: [`--image-credential-provider-config=${file}`, `--image-credential-provider-bin-dir=${bin}`],
  };
}

/** Whole or not at all: systemd reads it as soon as this process has ended, however it ended. */
async function writeWhole(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}`);
  try {
    await writeFile(temporary, text, { mode: 0o600 });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}
