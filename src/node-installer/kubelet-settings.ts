import { parse } from 'yaml';
import { argumentsByFiles, flagValue, type KubeletUnit } from './found-unit.js';
import type { ObservedNode, RunningKubelet } from './node.js';
import { argumentsDirectory } from './own-files.js';
import { kubeletsOf } from './running-kubelet.js';

type Kubelet = NonNullable<ObservedNode['kubelet']>;

/** What a kubelet is told about images and their credentials. */
export type KubeletSettings = Pick<Kubelet, 'imageEndpoint' | 'runtimeEndpoint' | 'credentialProvider'>;

/** The command line that counts: of the running one, for files may have changed since it was started. */
export function argumentsNow(
  unit: KubeletUnit,
  files: ReadonlyMap<string, string>,
  running: readonly RunningKubelet[],
): readonly string[] {
  const [first] = kubeletsOf(unit.unit, running);
  // k3s hides its arguments: there is nothing but a title.
  return first === undefined || first.argv.length < 2 ? argumentsByFiles(unit, files) : first.argv;
}

/** Where a kubelet's configuration is: a file, and a folder of drop-ins. */
export function configPaths(argv: readonly string[]): { readonly file?: string; readonly folder?: string } {
  const file = flagValue(argv, '--config');
  const folder = flagValue(argv, '--config-dir');
  return { ...(file?.startsWith('/') && { file }), ...(folder?.startsWith('/') && { folder }) };
}

/** Flags beat the drop-ins of the configuration, and those beat the configuration. */
export function kubeletSettings(
  argv: readonly string[],
  files: ReadonlyMap<string, string>,
): KubeletSettings {
  const { file, folder } = configPaths(argv);
  const dropIns = [...files.keys()]
    .filter((path) => folder !== undefined && path.startsWith(`${folder}/`))
    .sort();
  const configs = [...(file === undefined ? [] : [file]), ...dropIns].map((path) =>
    readConfig(files.get(path)),
  );
  const setting = (flag: string, key: string) =>
    flagValue(argv, flag) ?? configs.map((config) => config[key]).findLast(isText);
  return {
    imageEndpoint: setting('--image-service-endpoint', 'imageServiceEndpoint'),
    runtimeEndpoint: setting('--container-runtime-endpoint', 'containerRuntimeEndpoint'),
    credentialProvider: providerFlags(argv),
  };
}

/** Ours come after the node's own, and stand in a place that nobody else has. */
function providerFlags(argv: readonly string[]): Kubelet['credentialProvider'] {
  const isTheirs = (value: string) => !value.startsWith(`${argumentsDirectory}/`);
  const config = flagValue(argv, '--image-credential-provider-config', isTheirs);
  const binDirectory = flagValue(argv, '--image-credential-provider-bin-dir', isTheirs);
  return config === undefined || binDirectory === undefined ? undefined : { config, binDirectory };
}

/** Used where both are there and no flag says otherwise (k3s and RKE2, `--image-credential-provider-*`). */
export const rancherProvider = {
  config: '/var/lib/rancher/credentialprovider/config.yaml',
  binDirectory: '/var/lib/rancher/credentialprovider/bin',
} as const;

/** What k3s and RKE2 are told: their files hold the flags without dashes, and those of their kubelet in `kubelet-arg`. */
export function rancherSettings(
  argv: readonly string[],
  files: ReadonlyMap<string, string>,
): KubeletSettings {
  const words = rancherPaths(files).flatMap((path) => flagsIn(readConfig(files.get(path))));
  const all = [...words, ...argv];
  const isUsual = files.has(rancherProvider.config) && files.has(rancherProvider.binDirectory);
  const { imageEndpoint, runtimeEndpoint, credentialProvider } = kubeletSettings(
    [...all, ...nestedFlags(all)],
    files,
  );
  return {
    imageEndpoint,
    runtimeEndpoint,
    credentialProvider: credentialProvider ?? (isUsual ? rancherProvider : undefined),
  };
}

const rancherConfig = /^\/etc\/rancher\/(?:k3s|rke2)\/config\.yaml(?:\.d\/[^/]+\.ya?ml)?$/;

function rancherPaths(files: ReadonlyMap<string, string>): readonly string[] {
  return [...files.keys()].filter((path) => rancherConfig.test(path)).sort();
}

function flagsIn(config: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.entries(config).flatMap(([key, value]) =>
    (Array.isArray(value) ? value : [value])
      .filter(isText)
      .map((one) => `--${key.replace(/\+$/, '')}=${one}`),
  );
}

function nestedFlags(argv: readonly string[]): readonly string[] {
  return argv.flatMap((word) => {
    const value = /^--kubelet-arg=(?:--)?(?<flag>.+)$/.exec(word)?.groups?.flag;
    return value === undefined ? [] : [`--${value}`];
  });
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

/** What cannot be read says nothing: kubelet itself will not start with it. */
function readConfig(text: string | undefined): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = parse(text ?? '', { logLevel: 'silent' });
    const isRecord = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isRecord ? (value as Readonly<Record<string, unknown>>) : {};
  } catch {
    return {};
  }
}
