import { commandsOf, commandWords, type KubeletUnit } from './found-unit.js';
import type { Desired, ObservedNode } from './node.js';
import { startTimeoutOf } from './start-timeout.js';
import { baseName, isGenerated, lastOf } from './unit-text.js';

const byHand =
  'give kubelet --image-service-endpoint by hand, or use credential providers (kubelet-image-service credential-provider --print-config)';

/**
 * Why nothing can be added to a unit; a sentence each, with what to do instead.
 *
 * @param files as a snapshot has them
 */
export function unitRefusals(unit: KubeletUnit, files: ReadonlyMap<string, string>): readonly string[] {
  const { fragmentPath } = unit;
  if (unit.isMasked) return [`${unit.unit} is masked (${fragmentPath}): unmask it first`];
  if (isGenerated(fragmentPath)) {
    return [`${fragmentPath} is made anew whenever systemd loads its units: change what makes it; ${byHand}`];
  }
  return [...commandRefusals(unit), ...settingRefusals(unit), ...timeoutRefusals(unit, files)];
}

/** Programs that are a kubelet, or have one in them. */
const kubelets = ['kubelet', 'hyperkube', 'k3s', 'rke2'];

function commandRefusals(unit: KubeletUnit): readonly string[] {
  const commands = commandsOf(unit);
  const [command] = commands;
  if (command === undefined) return [`${unit.unit} has no ExecStart; ${byHand}`];
  if (commands.length > 1)
    return [`${unit.unit} has ${commands.length} ExecStart lines, expected one; ${byHand}`];
  const parsed = commandWords(command);
  if (parsed === undefined)
    return [`ExecStart of ${unit.unit} is not one command with closed quotes; ${byHand}`];
  const program = baseName(parsed.words[0] ?? '');
  if (!kubelets.includes(program)) {
    return [`ExecStart of ${unit.unit} runs ${program}, expected ${kubelets.join(', ')}; ${byHand}`];
  }
  if (parsed.prefix.includes(':')) {
    return [`ExecStart of ${unit.unit} begins with ":", so that no variable counts in it; ${byHand}`];
  }
  return [];
}

/** Settings that would keep our arguments of an earlier start, hide those of this one, or let others write them. */
function settingRefusals({ unit, assignments, laterAssignments }: KubeletUnit): readonly string[] {
  const preserve = lastOf(assignments, 'RuntimeDirectoryPreserve') ?? '';
  const user = lastOf(assignments, 'User') ?? '';
  const dynamic = lastOf(assignments, 'DynamicUser') ?? '';
  const mode = lastOf(assignments, 'RuntimeDirectoryMode') ?? '';
  const later = laterAssignments.find(
    ({ section, key, value }) =>
      section === 'Service' && key in overriding && (value === '' || overriding[key]),
  );
  const found: readonly (readonly [isRefused: boolean, what: string])[] = [
    [
      preserve !== '' && !isFalse(preserve),
      `${unit} has RuntimeDirectoryPreserve=${preserve}, which keeps arguments of an earlier start; ${byHand}`,
    ],
    [
      !['', 'root', '0'].includes(user),
      `${unit} runs as ${user}, and our arguments are made by root; ${byHand}`,
    ],
    [
      dynamic !== '' && !isFalse(dynamic),
      `${unit} has DynamicUser=${dynamic}, and our arguments are made by root; ${byHand}`,
    ],
    [
      isWritableByOthers(mode),
      `${unit} has RuntimeDirectoryMode=${mode}: others than root could write kubelet's arguments; expected a mode such as 0755; ${byHand}`,
    ],
  ];
  return [
    ...found.flatMap(([isRefused, what]) => (isRefused ? [what] : [])),
    ...(later === undefined
      ? []
      : [`a drop-in of ${unit} that is read after ours sets ${later.key}: give it a name before 90-`]),
  ];
}

/** systemd.syntax(7), boolean arguments. */
const isFalse = (value: string) => /^(?:no|n|false|f|off|0)$/i.test(value);

const isWritableByOthers = (mode: string) =>
  /^[0-7]+$/.test(mode) && (Number.parseInt(mode, 8) & writableByOthers) !== 0;

/** Of permission bits. */
const writableByOthers = 0o022;

/** Milliseconds: what comes before kubelet takes up to 10 s, and the machine may be busy. */
const shortestStart = 30_000;

/** `-` before a command covers its failure, and not a start that takes too long: kubelet would not get to its own. */
function timeoutRefusals(unit: KubeletUnit, files: ReadonlyMap<string, string>): readonly string[] {
  const timeout = startTimeoutOf(unit, files);
  if (timeout === undefined || timeout.time >= shortestStart) return [];
  return [
    `${unit.unit} is started with ${timeout.setting}, and what comes before kubelet may take 10 s: expected 30s or more, or 0; ${byHand}`,
  ];
}

/** By key: true where any value after ours takes it away, false where an empty one does. */
const overriding: Readonly<Record<string, boolean>> = {
  ExecStart: true,
  ExecStartPre: false,
  EnvironmentFile: false,
  RuntimeDirectory: false,
};

/** A path that is to stand in units as it is. */
const plainPath = /^(?:\/[\w.@+-]+)+$/;

export function directoryRefusals({ directory }: Pick<Desired, 'directory'>): readonly string[] {
  const isFine = directory === undefined || (plainPath.test(directory) && !/\/\.\.?(?:\/|$)/.test(directory));
  return isFine
    ? []
    : ['--directory: expected an absolute path of letters, digits and . _ @ + - without ".."'];
}

type Kubelet = NonNullable<ObservedNode['kubelet']>;

/**
 * @param own endpoints of ours: those that are wanted, or were
 */
export function endpointRefusals(
  { unit, imageEndpoint, runtimeEndpoint }: Kubelet,
  { mode, chain }: Pick<Desired, 'mode' | 'chain'>,
  own: readonly string[],
): readonly string[] {
  if (mode === 'credential-provider') return [];
  // Nothing can answer for a runtime that is started by what waits for the answer.
  if (unit !== 'kubelet.service' && (socketPath(runtimeEndpoint) ?? embedded).startsWith(embedded)) {
    return [
      `${unit} starts its own container runtime, so the image service cannot answer before it runs: take credential-provider mode, or a runtime of its own (container-runtime-endpoint)`,
    ];
  }
  const isOwn = own.some((endpoint) => socketPath(endpoint) === socketPath(imageEndpoint));
  const isRuntime = socketPath(imageEndpoint) === socketPath(runtimeEndpoint ?? usualRuntime);
  if (imageEndpoint === undefined || isOwn || isRuntime || chain) return [];
  return [
    `kubelet asks ${imageEndpoint} for images, which is not this image service: --chain puts ours before it (its runtime has to be that endpoint then), or take credential-provider mode`,
  ];
}

/** Of the runtimes that k3s and RKE2 start themselves. */
const embedded = '/run/k3s/';

/** kubelet's own, where nothing says another one. */
const usualRuntime = 'unix:///run/containerd/containerd.sock';

function socketPath(endpoint: string | undefined): string | undefined {
  return endpoint?.replace(/^unix:(?:\/\/)?/, '').replace(/^\/var\/run\//, '/run/');
}
