import { readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describeError } from '../../errors.js';
import type { Time } from '../../node-installer/ports.js';
import { type InstallResult, isFailure } from '../../node-installer/result.js';
import type { CommandProcess } from '../command-process.js';
import { fileMarks } from '../file-marks.js';
import { BusyError } from './host-run.js';
import { resultText } from './run-command.js';

/** Milliseconds between two runs, and between two looks at the configuration. */
const between = 5 * 60_000;
const look = 10_000;

export interface StayOptions {
  /** There after a run that was verified, gone after one that failed. */
  readonly readyFile?: string | undefined;
  /** All files of its directory are looked at. */
  readonly config?: string | undefined;
  readonly run: () => Promise<InstallResult>;
  readonly clock: Time;
  readonly stop: AbortSignal;
}

/**
 * Runs the installer again and again, for a platform may write its units anew; until it is stopped. A run that is under
 * way on the node goes on there then, and nothing is taken away.
 */
export async function stay(options: StayOptions, own: CommandProcess): Promise<void> {
  const { readyFile, config, run, clock, stop } = options;
  if (readyFile !== undefined) await rm(readyFile, { force: true });
  let told = '';
  while (!stop.aborted) {
    const marks = await marksOf(config);
    const { text, isReady, wait } = await once(run);
    if (text !== told) own.stdout.write(text);
    told = text;
    if (readyFile !== undefined && isReady !== undefined) await showReady(readyFile, isReady, own);
    for (let waited = 0; waited < wait && !stop.aborted; waited += look) {
      await Promise.race([clock.sleep(look), aborted(stop)]);
      if ((await marksOf(config)) !== marks) break;
    }
  }
}

async function once(run: StayOptions['run']) {
  try {
    const result = await run();
    return { text: resultText(result), isReady: !isFailure(result), wait: between };
  } catch (error) {
    const text = `${error instanceof Error ? error.message : describeError(error)}\n`;
    // Of the pod before this one, say: what it does is not known yet.
    if (error instanceof BusyError) return { text, isReady: undefined, wait: look };
    return { text, isReady: false, wait: between };
  }
}

async function showReady(file: string, isReady: boolean, own: CommandProcess): Promise<void> {
  try {
    if (isReady) await writeFile(file, 'ready\n');
    else await rm(file, { force: true });
  } catch (error) {
    own.stderr.write(`${file}: ${describeError(error)}\n`);
  }
}

async function marksOf(config: string | undefined): Promise<string> {
  if (config === undefined) return '';
  const directory = dirname(config);
  const names = await readdir(directory).catch(() => []);
  return fileMarks(names.sort().map((name) => join(directory, name)));
}

function aborted(stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => stop.addEventListener('abort', () => resolve(), { once: true }));
}
