import { hashOf } from './journal.js';
import { endpointOf } from './names.js';
import type { Change, Desired, ObservedNode, Plan } from './node.js';
import { blockOf, withBlock, withoutBlock } from './own-block.js';
import {
  dropInPath,
  dropInText,
  executableName,
  guardServiceText,
  guardTimerText,
  isUnitPath,
  kubeletUnits,
  lostServiceText,
  ownPaths,
  serviceText,
} from './own-files.js';
import { baseName } from './unit-text.js';
import type { WrittenFile, WrittenRecord } from './written-record.js';

type Kubelet = NonNullable<ObservedNode['kubelet']>;
type Content = NonNullable<Change['after']>['content'];
type Stage = Change['stage'];

/** What a file of ours is to be. */
interface WantedFile {
  readonly path: string;
  /** A unit's is our block alone. */
  readonly content: Content;
  readonly mode: number;
  readonly stage: Stage;
}

/** What becomes of one file: a change, the word that it stays as somebody else made it, or neither. */
interface Outcome {
  readonly change?: Change;
  readonly kept?: string;
}

/**
 * What has to change on a node for what is desired; nothing where it is so already. Files that somebody has changed
 * since they were written stay as they are; a block of ours that no record knows is ours by its marks.
 */
export function planInstall(desired: Desired, observed: ObservedNode, record: WrittenRecord): Plan {
  const { kubelet, refusals } = observed;
  const reasons = [platformReason(observed), ...observed.notes];
  if (refusals.length > 0 || kubelet === undefined) {
    const why = refusals.length > 0 ? refusals : ["kubelet's unit cannot be read"];
    return { verdict: 'refused', reasons: [platformReason(observed), ...why], changes: [], kept: [] };
  }
  const wanted = wantedFiles(desired, observed, kubelet);
  const paths = new Set(wanted.map(({ path }) => path));
  const outcomes = [
    ...wanted.map((file) => writing(file, observed, record)),
    ...leftOver(observed, record, paths).map((path) => removal(path, observed, record)),
  ];
  return planOf('install', reasons, outcomes);
}

/** What has to go, first what kubelet reads. What others changed meanwhile stays. */
export function planUninstall(observed: ObservedNode, record: WrittenRecord): Plan {
  const isLost = Object.keys(record).length === 0 && hasBlocks(observed);
  const paths = leftOver(observed, record, new Set());
  const ordered = [...paths.filter(isDropIn), ...paths.filter((path) => !isDropIn(path))];
  return planOf(
    'uninstall',
    [platformReason(observed)],
    ordered.map((path) => removal(path, observed, record, isLost)),
  );
}

/** Whether we have been here, whatever the record says. */
function hasBlocks({ own }: ObservedNode): boolean {
  return [...own.values()].some(({ text }) => text !== undefined && blockOf(text) !== undefined);
}

function planOf(
  verdict: 'install' | 'uninstall',
  reasons: readonly string[],
  outcomes: readonly Outcome[],
): Plan {
  const changes = outcomes.flatMap(({ change }) => change ?? []);
  const kept = outcomes.flatMap((outcome) => outcome.kept ?? []);
  return {
    verdict: changes.length === 0 ? 'nothing to do' : verdict,
    reasons: [...reasons, ...kept.map((path) => `${path} is not as we wrote it, and stays as it is`)],
    changes: inOrder(changes, verdict),
    kept,
  };
}

/** What kubelet's unit names is there before it is named, and goes after that. */
function inOrder(changes: readonly Change[], verdict: 'install' | 'uninstall'): readonly Change[] {
  const of = (wanted: Stage) => changes.filter(({ stage }) => stage === wanted);
  const first = of('service').filter(({ after }) => verdict === 'install' && after !== undefined);
  return [...first, ...of('kubelet'), ...of('service').filter((change) => !first.includes(change))];
}

function platformReason({ platformTitle, kubelet }: ObservedNode): string {
  if (kubelet === undefined) return platformTitle;
  const { unit, argumentsPath, pid } = kubelet;
  const way = argumentsPath.kind === 'amend' ? `$${argumentsPath.variable}` : 'ExecStart, repeated as it is';
  return `${platformTitle}: ${unit}${pid === 0 ? '' : ` (process ${pid})`}, arguments by ${way}`;
}

const wantedMode = { executable: 0o755, unit: 0o644, config: 0o600 } as const;

function wantedFiles(desired: Desired, observed: ObservedNode, kubelet: Kubelet): readonly WantedFile[] {
  const { executableDirectory, stateDirectory } = observed;
  const paths = ownPaths({ unit: kubelet.unit, executableDirectory, stateDirectory });
  const { executable } = paths;
  const content = { copyOf: desired.executable, hash: desired.executableHash };
  const dropIn = {
    path: paths.dropIn,
    content: dropInText({
      mode: desired.mode,
      executable,
      argumentsPath: kubelet.argumentsPath,
      endpoint: endpointOf(desired.socket),
      config: `${paths.configDirectory}/${desired.configurationName}`,
      credentialProvider: kubelet.credentialProvider,
      allow: desired.allow,
    }),
    mode: wantedMode.unit,
    stage: 'kubelet' as const,
  };
  return [
    { path: executable, content, mode: wantedMode.executable, stage: 'service' },
    ...configFiles(desired, paths.configDirectory),
    ...unitFiles(desired, kubelet, paths),
    dropIn,
  ];
}

/** In pod mode the configuration is the pod's. */
function configFiles({ mode, configuration }: Desired, directory: string): readonly WantedFile[] {
  if (mode === 'pod') return [];
  return [...configuration].map(([name, content]) => ({
    path: `${directory}/${name}`,
    content,
    mode: wantedMode.config,
    stage: 'service',
  }));
}

function unitFiles(
  desired: Desired,
  { unit: kubeletUnit }: Kubelet,
  paths: ReturnType<typeof ownPaths>,
): readonly WantedFile[] {
  const { mode, allow, configurationName } = desired;
  if (mode === 'credential-provider') return [];
  const { executable } = paths;
  const parts = { executable, kubeletUnit, endpoint: endpointOf(desired.socket) };
  const config = `${paths.configDirectory}/${configurationName}`;
  const texts: readonly (readonly [path: string, content: string])[] = [
    ...(mode === 'host' ? [[paths.service, serviceText({ ...parts, config, allow })] as const] : []),
    [paths.guardService, guardServiceText(parts)],
    [paths.guardTimer, guardTimerText()],
    [paths.lostService, lostServiceText(parts)],
  ];
  return texts.map(([path, content]) => ({ path, content, mode: wantedMode.unit, stage: 'service' }));
}

function writing(file: WantedFile, observed: ObservedNode, record: WrittenRecord): Outcome {
  const { path, content, mode, stage } = file;
  const present = observed.own.get(path);
  const written = record[path];
  if (isUnitPath(path) && typeof content === 'string') {
    if (isEdited(present?.text, written, content)) return { kept: path };
    const text = withBlock(present?.text, content);
    return changed(
      text === present?.text && present.mode === mode,
      { path, content: text, mode, stage },
      observed,
    );
  }
  const hash = typeof content === 'string' ? hashOf(content) : content.hash;
  // Nobody edits a program: one that is not ours is no use to kubelet's unit.
  const isCopy = typeof content === 'string';
  if (isCopy && present && written && present.hash !== written.hash && present.hash !== hash)
    return { kept: path };
  return changed(present?.hash === hash && present.mode === mode, file, observed);
}

/** True where our part of a unit is neither as we wrote it last, nor as it is wanted. */
function isEdited(text: string | undefined, written: WrittenFile | undefined, wanted: string): boolean {
  if (text === undefined || written === undefined) return false;
  const block = blockOf(text);
  return block !== wanted && block !== written.block;
}

function changed(isSame: boolean, file: WantedFile, observed: ObservedNode): Outcome {
  if (isSame) return {};
  const { path, content, mode, stage } = file;
  return { change: { path, before: beforeOf(path, observed), after: { content, mode }, stage } };
}

/** Files of ours that are there and not wanted: of an earlier mode, directory or configuration. */
function leftOver(
  { own }: ObservedNode,
  record: WrittenRecord,
  wanted: ReadonlySet<string>,
): readonly string[] {
  return [...new Set([...own.keys(), ...Object.keys(record)])].filter(
    (path) => own.has(path) && !wanted.has(path),
  );
}

/** @param isLost the record was lost: copies are ours by their place then, for they may hold secrets */
function removal(path: string, observed: ObservedNode, record: WrittenRecord, isLost = false): Outcome {
  const present = observed.own.get(path);
  const stage: Stage = isDropIn(path) ? 'kubelet' : 'service';
  if (present === undefined) return {};
  const before = beforeOf(path, observed);
  const written = record[path];
  if (present.text === undefined) {
    // A program is nobody's edit: it may be the one that was brought here to uninstall.
    const isProgram = baseName(path) === executableName;
    // One that no record knows may be of anybody, though it lies beside ours.
    const isOurs = isProgram || isLost || written?.hash === present.hash;
    return isOurs ? { change: { path, before, after: undefined, stage } } : { kept: path };
  }
  const rest = withoutBlock(present.text, written?.block);
  if (rest === present.text) return {};
  const after = rest === undefined ? undefined : { content: rest, mode: present.mode };
  return { change: { path, before, after, stage } };
}

function isDropIn(path: string): boolean {
  return kubeletUnits.some((unit) => dropInPath(unit) === path);
}

function beforeOf(path: string, { own }: ObservedNode): Change['before'] {
  const present = own.get(path);
  return present && { hash: present.hash, ...(present.text !== undefined && { text: present.text }) };
}
