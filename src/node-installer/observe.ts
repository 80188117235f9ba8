import { accessRefusals } from './directory-access.js';
import { readEnvironmentFile } from './environment-text.js';
import { commandsOf, commandWords, findUnits, type KubeletUnit } from './found-unit.js';
import { argumentsNow, kubeletSettings, rancherSettings } from './kubelet-settings.js';
import { endpointOf } from './names.js';
import type { ArgumentsPath, Desired, NodeSnapshot, ObservedNode } from './node.js';
import { oldLibc } from './old-libc.js';
import { dropInPath, kubeletUnits, ownVariable } from './own-files.js';
import { type Platform, platformOf, platforms } from './platforms.js';
import { directoryRefusals, endpointRefusals, unitRefusals } from './refusals.js';
import { kubeletProgram, kubeletsOf, unitOf } from './running-kubelet.js';
import { oldSystemd } from './systemd-version.js';
import { baseName } from './unit-text.js';

/** What an observation depends on; nothing for `uninstall`. */
export type Wanted = Pick<Desired, 'mode' | 'socket' | 'chain'> & Pick<Partial<Desired>, 'directory'>;

type Kubelet = NonNullable<ObservedNode['kubelet']>;

/** What a node is, where its kubelet's arguments come from, and why nothing could be installed. */
export function observe(snapshot: NodeSnapshot, desired?: Wanted): ObservedNode {
  const unit = chooseUnit(snapshot);
  const platform = platformOf(signsOf(snapshot, unit));
  const place = platforms[platform];
  const kubelet = unit && kubeletOf(unit, snapshot);
  return {
    platform,
    platformTitle: place.title,
    kubelet,
    executableDirectory: desired?.directory ?? place.executableDirectory,
    stateDirectory: place.stateDirectory,
    notes: notesOf(place, kubelet),
    refusals: refusalsOf(snapshot, place, { unit, kubelet, desired }),
    own: snapshot.own,
  };
}

/** Where several are there, the one whose program runs. */
function chooseUnit({ files, kubelets }: NodeSnapshot): KubeletUnit | undefined {
  const units = findUnits(files);
  if (units.length < 2) return units[0];
  const running = new Set(kubelets.flatMap(({ argv }) => kubeletProgram(argv) ?? []));
  // RKE2 has its kubelet as a program beside its own.
  const program = [...running].find((one) => one !== 'kubelet') ?? [...running][0];
  const usable = units.filter(({ isMasked }) => !isMasked);
  if (program !== undefined) return units.find(({ unit }) => unit === unitOf[program]);
  return usable.length === 1 ? usable[0] : undefined;
}

function signsOf({ files }: NodeSnapshot, unit: KubeletUnit | undefined) {
  const [command] = unit === undefined ? [] : commandsOf(unit);
  return {
    osRelease: osReleaseOf(files),
    hostname: (files.get('/etc/hostname') ?? '').trim(),
    ...(unit && { unit: unit.unit }),
    words: (command && commandWords(command)?.words) ?? [],
    dropIns: unit?.dropInPaths.map(baseName) ?? [],
    has: (marker: string) => files.has(marker),
  };
}

function osReleaseOf(files: NodeSnapshot['files']): ReadonlyMap<string, string> {
  return readEnvironmentFile(files.get('/etc/os-release') ?? files.get('/usr/lib/os-release') ?? '');
}

/** @returns undefined where its command is not one that we could add to */
function kubeletOf(unit: KubeletUnit, { files, kubelets }: NodeSnapshot): Kubelet | undefined {
  const argumentsPath = argumentsPathOf(unit);
  if (argumentsPath === undefined || unitRefusals(unit, files).length > 0) return undefined;
  const argv = argumentsNow(unit, files, kubelets);
  const isKubelet = unit.unit === 'kubelet.service';
  return {
    unit: unit.unit,
    fragmentPath: unit.fragmentPath,
    dropInPaths: unit.dropInPaths,
    argumentsPath,
    pid: kubeletsOf(unit.unit, kubelets)[0]?.pid ?? 0,
    ...(isKubelet ? kubeletSettings(argv, files) : rancherSettings(argv, files)),
  };
}

/** Those that platforms leave to their users, or that hold all flags. */
const amendable = ['$KUBELET_EXTRA_ARGS', '$KUBELET_OPTS', '$KUBELET_FLAGS', '$NODEADM_KUBELET_ARGS'];
/** kubelet takes the last one of a flag: behind these ours would not count. */
const contested = /^--image-(?:service-endpoint|credential-provider-(?:config|bin-dir))(?:=|$)/;

function argumentsPathOf(unit: KubeletUnit): ArgumentsPath | undefined {
  const [command] = commandsOf(unit);
  const words = command && commandWords(command)?.words;
  if (command === undefined || words === undefined) return undefined;
  const at = words.findLastIndex((word) => amendable.includes(word));
  const isLast = !words.slice(at + 1).some((word) => contested.test(word));
  if (at > 0 && isLast) return { kind: 'amend', variable: (words[at] ?? '').slice(1) };
  return { kind: 're-emit', variable: ownVariable, execStart: command.raw };
}

function notesOf({ notes, refusal }: Platform, kubelet: Kubelet | undefined): readonly string[] {
  if (refusal !== undefined || kubelet === undefined) return [];
  return [...notes, ...(kubelet.pid === 0 ? ['kubelet does not run now'] : [])];
}

interface Judged {
  readonly unit: KubeletUnit | undefined;
  readonly kubelet: Kubelet | undefined;
  readonly desired: Wanted | undefined;
}

function refusalsOf(snapshot: NodeSnapshot, place: Platform, judged: Judged): readonly string[] {
  // On these nothing else would help.
  const node = place === platforms.unknown ? undefined : place.refusal;
  const libc = oldLibc(osReleaseOf(snapshot.files));
  const hopeless = [node, libc, oldSystemd(snapshot.files)].filter((one) => one !== undefined);
  if (hopeless.length > 0) return hopeless;
  const { unit, kubelet, desired } = judged;
  if (unit === undefined) return [noUnit(snapshot)];
  const several = kubeletsOf(unit.unit, snapshot.kubelets);
  return [
    ...unitRefusals(unit, snapshot.files),
    ...(several.length > 1 ? [severalText(several.map(({ pid }) => pid))] : []),
    ...(place.refusal === undefined ? [] : [place.refusal]),
    ...(desired === undefined ? [] : directoryRefusals(desired)),
    ...(desired === undefined ? [] : accessRefusals(waysTo(snapshot, place, desired))),
    ...(kubelet && desired
      ? endpointRefusals(kubelet, desired, ownEndpoints(snapshot, kubelet, desired))
      : []),
  ];
}

function waysTo({ access }: NodeSnapshot, place: Platform, { directory }: Wanted) {
  const directories = [directory ?? place.executableDirectory, place.stateDirectory];
  return directories.flatMap((one) => access.get(one) ?? []);
}

function noUnit({ files }: NodeSnapshot): string {
  const units = findUnits(files).map(({ unit }) => unit);
  return units.length > 1
    ? `there is more than one unit that a kubelet may run in (${units.join(', ')}), and none of them runs: start the one that is used, or mask the others`
    : `there is no unit that a kubelet runs in (${kubeletUnits.join(', ')}); install kubelet first, or use docker-registry-proxy as a registry or a mirror instead`;
}

function severalText(pids: readonly number[]): string {
  return `more than one kubelet runs here (processes ${pids.join(', ')}): which one systemd started cannot be told; stop the others`;
}

/** What is asked for, and what an earlier run wrote: the socket may have been another one. */
function ownEndpoints({ own }: NodeSnapshot, { unit }: Kubelet, { socket }: Wanted): readonly string[] {
  const written = own.get(dropInPath(unit))?.text ?? '';
  const [, endpoint] = /^ExecStartPre=-.* --endpoint "?(unix:[^\s"]+)/m.exec(written) ?? [];
  return [endpointOf(socket), ...(endpoint === undefined ? [] : [endpoint])];
}
