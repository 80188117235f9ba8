import type { ArgumentsPath, InstallMode } from './node.js';
import { beginLine, endLine } from './own-block.js';
import { unitWord } from './unit-words.js';

/** Names of units of ours. */
export const unitNames = {
  service: 'kubelet-image-service.service',
  guardService: 'kubelet-image-service-guard.service',
  guardTimer: 'kubelet-image-service-guard.timer',
  lostService: 'kubelet-image-service-lost.service',
} as const;

/** Units that a kubelet runs in. */
export const kubeletUnits = [
  'kubelet.service',
  'k3s.service',
  'k3s-agent.service',
  'rke2-server.service',
  'rke2-agent.service',
] as const;

export const systemdDirectory = '/etc/systemd/system';
export const executableName = 'kubelet-image-service';
export const dropInName = '90-kubelet-image-service.conf';

/** systemd makes it when kubelet's unit starts, and takes it away when that stops: nothing old is ever read there. */
export const argumentsDirectory = '/run/kubelet-image-service-arguments';
export const argumentsFilePath = `${argumentsDirectory}/kubelet.env`;
/** What kubelet is given in credential-provider mode. */
export const mergedProviders = {
  config: `${argumentsDirectory}/credential-provider.yaml`,
  binDirectory: `${argumentsDirectory}/bin`,
} as const;

/** Of re-emitted commands. */
export const ownVariable = 'KUBELET_IMAGE_SERVICE_ARGUMENTS';

export interface OwnPaths {
  readonly executable: string;
  readonly configDirectory: string;
  readonly journal: string;
  readonly backupDirectory: string;
  readonly result: string;
  readonly dropIn: string;
  readonly service: string;
  readonly guardService: string;
  readonly guardTimer: string;
  readonly lostService: string;
}

export interface OwnPlaces {
  /** That kubelet runs in: `kubelet.service`, `k3s.service`, … */
  readonly unit: string;
  readonly executableDirectory: string;
  readonly stateDirectory: string;
}

/** Where files of ours are; all absolute, on the node. */
export function ownPaths({ unit, executableDirectory, stateDirectory }: OwnPlaces): OwnPaths {
  return {
    executable: `${executableDirectory}/${executableName}`,
    configDirectory: `${stateDirectory}/config`,
    journal: `${stateDirectory}/journal.json`,
    backupDirectory: `${stateDirectory}/backups`,
    result: `${stateDirectory}/result.json`,
    dropIn: dropInPath(unit),
    service: `${systemdDirectory}/${unitNames.service}`,
    guardService: `${systemdDirectory}/${unitNames.guardService}`,
    guardTimer: `${systemdDirectory}/${unitNames.guardTimer}`,
    lostService: `${systemdDirectory}/${unitNames.lostService}`,
  };
}

/** @param unit that kubelet runs in */
export function dropInPath(unit: string): string {
  return `${systemdDirectory}/${unit}.d/${dropInName}`;
}

/** True of units and drop-ins: they have a block of ours, and everybody may read them. */
export function isUnitPath(path: string): boolean {
  return path.startsWith(`${systemdDirectory}/`);
}

export interface DropIn {
  readonly mode: InstallMode;
  readonly executable: string;
  readonly argumentsPath: ArgumentsPath;
  /** `unix:///…`, in the modes with an endpoint. */
  readonly endpoint: string;
  /** The copy on the node. */
  readonly config: string;
  /** What the node has of its own. */
  readonly credentialProvider: { readonly config: string; readonly binDirectory: string } | undefined;
  readonly allow: readonly string[];
}

/** The block of ours in the drop-in of kubelet's unit (systemd.unit(5)). */
export function dropInText(parts: DropIn): string {
  const { argumentsPath, mode } = parts;
  return block([
    ...dependencies(mode),
    '[Service]',
    `RuntimeDirectory=${argumentsDirectory.slice('/run/'.length)}`,
    `ExecStartPre=-${command(parts.executable, kubeletArguments(parts))}`,
    `EnvironmentFile=-${argumentsFilePath}`,
    ...(argumentsPath.kind === 'amend'
      ? []
      : ['ExecStart=', `ExecStart=${withVariable(argumentsPath.execStart, argumentsPath.variable)}`]),
  ]);
}

function dependencies(mode: InstallMode): readonly string[] {
  if (mode === 'credential-provider') return [];
  if (mode === 'pod') return ['[Unit]', `Wants=${unitNames.guardTimer}`];
  return ['[Unit]', `Wants=${unitNames.service} ${unitNames.guardTimer}`, `After=${unitNames.service}`];
}

function kubeletArguments(parts: DropIn): readonly string[] {
  const { mode, argumentsPath, endpoint, config, credentialProvider, allow } = parts;
  const provider = credentialProvider && [
    ...['--provider-config', credentialProvider.config],
    ...['--provider-bin-directory', credentialProvider.binDirectory],
  ];
  return [
    'kubelet-arguments',
    ...['--mode', mode],
    ...['--variable', argumentsPath.variable],
    ...(mode === 'credential-provider'
      ? [...(provider ?? []), '--config', config, ...allowOptions(allow)]
      : ['--endpoint', endpoint]),
    ...['--write', argumentsFilePath],
  ];
}

/**
 * A command's raw text with one more word, in whatever way its last line ends: k3s writes one whose last line is to be
 * continued by an empty one.
 */
export function withVariable(raw: string, variable: string): string {
  const isContinued = /(?:^|[^\\])(?:\\\\)*\\$/.test(raw);
  return isContinued ? `${raw}\n    $${variable}` : `${raw} $${variable}`;
}

export interface ImageServiceUnit {
  readonly executable: string;
  readonly config: string;
  readonly endpoint: string;
  /** That kubelet runs in. */
  readonly kubeletUnit: string;
  readonly allow: readonly string[];
}

/** Of a container runtime; those that are not there do not matter (systemd.unit(5), After=). */
const runtimeUnits = 'containerd.service docker.service cri-docker.service crio.service';

/** The service of host mode. */
export function serviceText({ executable, config, endpoint, kubeletUnit, allow }: ImageServiceUnit): string {
  return block([
    '[Unit]',
    "Description=Credentials for kubelet's image pulls",
    `Before=${kubeletUnit}`,
    `After=${runtimeUnits}`,
    // A service that fails again and again is tried again for ever: kubelet waits for nothing meanwhile.
    'StartLimitIntervalSec=0',
    '[Service]',
    'Type=exec',
    `ExecStart=${command(executable, ['serve', '--config', config, ...allowOptions(allow)])}`,
    `ExecStartPost=${command(executable, ['probe', '--endpoint', endpoint, '--timeout', '20s'])}`,
    'Restart=always',
    'RestartSec=1',
    'OOMScoreAdjust=-999',
    'UMask=0077',
  ]);
}

export interface GuardUnit {
  readonly executable: string;
  readonly kubeletUnit: string;
  readonly endpoint: string;
}

export function guardServiceText({ executable, kubeletUnit, endpoint }: GuardUnit): string {
  return block([
    '[Unit]',
    'Description=Look whether kubelet and its image service are well',
    `OnFailure=${unitNames.lostService}`,
    // It runs every 30 s: without this, a unit that others start by hand may be refused.
    'StartLimitIntervalSec=0',
    '[Service]',
    'Type=oneshot',
    `ExecStart=${command(executable, ['guard', '--unit', kubeletUnit, '--endpoint', endpoint])}`,
    'UMask=0077',
  ]);
}

/**
 * What the guard would do, were its executable still there: kubelet has arguments that nothing of ours can look after any
 * more, and starts without them.
 */
export function lostServiceText({ executable, kubeletUnit }: Omit<GuardUnit, 'endpoint'>): string {
  return block([
    '[Unit]',
    'Description=Start kubelet without its image service, whose executable is gone',
    `ConditionPathExists=!${executable}`,
    // systemd takes it away when kubelet stops, and nothing writes it now: there is no second time.
    `ConditionFileNotEmpty=${argumentsFilePath}`,
    'StartLimitIntervalSec=0',
    '[Service]',
    'Type=oneshot',
    // Without a directory: systemd knows where programs are (systemd.service(5), COMMAND LINES).
    `ExecStart=systemctl try-restart ${kubeletUnit}`,
  ]);
}

export function guardTimerText(): string {
  return block([
    '[Unit]',
    'Description=Look every 30 s whether kubelet and its image service are well',
    '[Timer]',
    'OnActiveSec=30s',
    'OnUnitInactiveSec=30s',
    'AccuracySec=1s',
  ]);
}

function block(lines: readonly string[]): string {
  return [beginLine, ...lines, endLine, ''].join('\n');
}

function command(executable: string, words: readonly string[]): string {
  return [executable, ...words].map(unitWord).join(' ');
}

function allowOptions(allow: readonly string[]): readonly string[] {
  return [...new Set(allow)].sort().flatMap((kind) => ['--allow', kind]);
}
