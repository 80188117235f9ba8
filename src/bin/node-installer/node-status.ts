import type { NodeFiles } from '../../contracts/node.js';
import { readGuardState } from '../../node-installer/guard.js';
import { JournalFile } from '../../node-installer/journal.js';
import { endpointOf, flagOf } from '../../node-installer/names.js';
import type { NodeSnapshot } from '../../node-installer/node.js';
import { observe } from '../../node-installer/observe.js';
import { blockOf } from '../../node-installer/own-block.js';
import { type InstallResult, readResult } from '../../node-installer/result.js';
import { readNode } from '../../node-installer/snapshot.js';
import { runsWithFlag } from '../../node-installer/verify-kubelet.js';
import type { WrittenFile } from '../../node-installer/written-record.js';
import { CriEndpoints } from './endpoint-probe.js';
import { journalDirectory } from './places.js';

/** What `status` tells of the node. Times are ISO 8601. */
export interface NodeReport {
  readonly mode: string;
  readonly platform: string;
  readonly version: string;
  readonly kubelet: {
    readonly unit: string;
    /** 0: none runs. */
    readonly pid: number;
    readonly hasFlag: boolean;
    /** Why it has not. */
    readonly reason?: string;
  };
  readonly files: readonly { readonly path: string; readonly state: FileState }[];
  readonly lastResult?: Pick<InstallResult, 'command' | 'verdict' | 'reasons' | 'at'>;
  readonly guard?: { readonly last: string; readonly at: string; readonly restarts: number };
}

export type FileState = 'as written' | 'changed by somebody' | 'missing';

/** Milliseconds that an endpoint gets to answer. */
const answerTime = 2_000;

/** @returns undefined where nothing is installed, or this user may not know. Never rejects */
export async function nodeReport(files: NodeFiles): Promise<NodeReport | undefined> {
  try {
    const directory = await journalDirectory(files);
    return directory === undefined ? undefined : await reportOf(files, directory);
  } catch {
    return undefined;
  }
}

async function reportOf(files: NodeFiles, stateDirectory: string): Promise<NodeReport | undefined> {
  const { installed, record, run } = await new JournalFile(files, stateDirectory).load();
  const wanted = installed ?? run?.wanted;
  if (wanted === undefined) return undefined;
  const snapshot = await readNode(files, Object.keys(record));
  const observed = observe(snapshot);
  const result = await readResult(files, stateDirectory);
  const guard = await readGuardState({ files });
  const paths = Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    mode: wanted.mode,
    platform: observed.platformTitle,
    version: wanted.version,
    kubelet: await kubeletReport(files, snapshot, { ...wanted, pid: observed.kubelet?.pid ?? 0 }),
    files: paths.map(([path, file]) => ({ path, state: stateOf(file, snapshot.own.get(path)) })),
    ...(result && {
      lastResult: {
        ...{ command: result.command, verdict: result.verdict, reasons: result.reasons, at: result.at },
      },
    }),
    ...(guard && {
      guard: { last: guard.last, at: new Date(guard.at).toISOString(), restarts: guard.restarts },
    }),
  };
}

/** What others wrote beside our part of a unit changes nothing of ours. */
function stateOf(
  { hash, block }: WrittenFile,
  found: { readonly hash: string; readonly text?: string } | undefined,
): FileState {
  if (found === undefined) return 'missing';
  if (found.hash === hash) return 'as written';
  const isOurPart = block !== undefined && found.text !== undefined && blockOf(found.text) === block;
  return isOurPart ? 'as written' : 'changed by somebody';
}

async function kubeletReport(
  files: NodeFiles,
  { kubelets }: NodeSnapshot,
  wanted: { readonly unit: string; readonly pid: number; readonly mode: string; readonly socket: string },
): Promise<NodeReport['kubelet']> {
  const { unit, pid, mode, socket } = wanted;
  const running = kubelets.find((one) => one.pid === pid);
  if (running === undefined) return { unit, pid: 0, hasFlag: false, reason: 'no kubelet runs' };
  const process = { pid, arguments: running.argv };
  if (await runsWithFlag({ files }, unit, process, flagOf(wanted))) return { unit, pid, hasFlag: true };
  const why =
    mode === 'credential-provider'
      ? undefined
      : await new CriEndpoints().answers(endpointOf(socket), answerTime);
  const reason = why ?? 'it was not restarted since it could have it';
  return { unit, pid, hasFlag: false, reason };
}

/** For people. */
export function nodeText({ mode, platform, version, kubelet, files, lastResult, guard }: NodeReport): string {
  const { unit, pid, hasFlag, reason } = kubelet;
  const running = pid === 0 ? 'does not run' : `runs (${pid})`;
  const changed = files.filter(({ state }) => state !== 'as written');
  return [
    `node: ${platform}, mode ${mode}, installed by ${version}`,
    `kubelet: ${unit} ${running}, ${hasFlag ? 'with our arguments' : `without our arguments: ${reason}`}`,
    `files: ${files.length - changed.length} of ${files.length} as written`,
    ...changed.map(({ path, state }) => `  ${path}: ${state}`),
    ...(lastResult === undefined
      ? []
      : [
          `last run: ${lastResult.command}: ${lastResult.verdict}, ${lastResult.at}`,
          ...lastResult.reasons.map((one) => `  ${one}`),
        ]),
    ...(guard === undefined
      ? ['guard: nothing done since the node started']
      : [`guard: ${guard.last} our endpoint, ${guard.at} (${guard.restarts} in a row)`]),
    '',
  ].join('\n');
}
