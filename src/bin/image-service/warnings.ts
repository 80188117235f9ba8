import type {
  ImageRuleSetting,
  ImageServiceConfiguration,
} from '../../config/image-service/configuration.js';
import { isMapping } from '../../config/mapping.js';
import { matchesRepositoryGlob } from '../../reference/repository-glob.js';
import type { NamePattern } from '../../settings/name-pattern.js';

/** Something that serves, and hardly as it was meant. */
export interface Warning {
  readonly setting: string;
  readonly message: string;
}

/** What the settings alone tell. */
export function imageServiceWarnings(configuration: ImageServiceConfiguration): readonly Warning[] {
  const { images } = configuration;
  return [
    ...runtimeWarnings(configuration),
    ...modeWarnings(configuration),
    ...adminWarnings(configuration),
    ...images.flatMap((rule, i) => [
      ...coveredWarnings(rule, images.slice(0, i)),
      ...ruleWarnings(rule, configuration),
      ...registryTokenWarnings(rule, configuration),
    ]),
  ];
}

function runtimeWarnings({ runtime }: ImageServiceConfiguration): readonly Warning[] {
  const message = 'is missing: fine for `credential-provider`; `serve` needs it';
  return runtime === undefined ? [{ setting: 'runtime', message }] : [];
}

function modeWarnings({ socketMode, directoryMode }: ImageServiceConfiguration): readonly Warning[] {
  const warnings: Warning[] = [];
  if ((socketMode & ~0o600) !== 0) {
    const message = `${octal(socketMode)}: others than the owner may pull and remove images, with the credentials of the rules`;
    warnings.push({ setting: 'socketMode', message });
  }
  if ((directoryMode & ~0o700) !== 0) {
    const message = `${octal(directoryMode)}: others than the owner may come to the sockets, and one who may write there may put his own in their place`;
    warnings.push({ setting: 'directoryMode', message });
  }
  return warnings;
}

const octal = (mode: number) => `'0${mode.toString(8).padStart(3, '0')}'`;

function adminWarnings({ admin }: ImageServiceConfiguration): readonly Warning[] {
  const host = admin.listen?.host;
  if (host === undefined || host === 'localhost' || host === '::1' || host.startsWith('127.')) return [];
  return [
    {
      setting: 'admin.listen',
      message:
        'is no address of this machine alone: who reaches the node reads the metrics, which name registries',
    },
  ];
}

function coveredWarnings(rule: ImageRuleSetting, earlier: readonly ImageRuleSetting[]): readonly Warning[] {
  const first = earlier.find((one) => covers(one, rule));
  return first === undefined
    ? []
    : [
        {
          setting: rule.setting,
          message: `never counts: ${first.setting} ('${first.name}') stands before it and matches all that it would`,
        },
      ];
}

/** True where each image and each pod of the later rule is one of the earlier, too. */
function covers(earlier: ImageRuleSetting, later: ImageRuleSetting): boolean {
  const { host, repositories } = later.match;
  const { text } = earlier.match.repositories;
  return (
    takes(earlier.match.host, host) &&
    (text === '**' || text === repositories.text) &&
    coversNamespaces(earlier, later) &&
    coversAnnotations(earlier, later)
  );
}

/** Names have no `*`: where a pattern takes the text of another one, it takes all that this one stands for. */
const takes = (wide: NamePattern, narrow: NamePattern) => wide.matches(narrow.text);

function coversNamespaces(earlier: ImageRuleSetting, later: ImageRuleSetting): boolean {
  if (earlier.namespaces === undefined) return true;
  return (
    later.namespaces?.every((narrow) => earlier.namespaces?.some((wide) => takes(wide, narrow))) === true
  );
}

function coversAnnotations(earlier: ImageRuleSetting, later: ImageRuleSetting): boolean {
  return [...(earlier.annotations ?? [])].every(([name, wide]) => {
    const narrow = later.annotations?.get(name);
    return narrow !== undefined && takes(wide, narrow);
  });
}

function ruleWarnings(
  { setting, match, annotations, credential, podIdentity }: ImageRuleSetting,
  { runtime }: ImageServiceConfiguration,
): readonly Warning[] {
  const warnings: Warning[] = [];
  if (podIdentity !== undefined && credential === undefined && runtime !== undefined) {
    const message =
      "`serve` pulls these images without a credential of its own, for pods' tokens are given to `credential-provider` alone; add `credentials` where `serve` is used";
    warnings.push({ setting: `${setting}.podIdentity`, message });
  }
  if ((annotations?.size ?? 0) > 0) {
    const message =
      'whoever may write a pod writes its annotations: they narrow the rule, and keep nobody away from its credential';
    warnings.push({ setting: `${setting}.annotations`, message });
  }
  if (match.host.matches('docker.io')) {
    warnings.push({ setting: `${setting}.match`, message: shortNames(match) });
  }
  return warnings;
}

function shortNames({ repositories }: ImageRuleSetting['match']): string {
  if (repositories.text === '*') {
    return 'matches nothing of docker.io: its repositories have two parts, such as library/busybox, and * takes no slash; write docker.io/**';
  }
  const [short, full] = matchesRepositoryGlob(repositories, 'library/busybox')
    ? ['busybox', 'library/busybox']
    : ['acme/app', 'acme/app'];
  return `images that pods name without a registry, such as ${short}, are not matched: write docker.io/${full} there`;
}

function registryTokenWarnings(
  { credential }: ImageRuleSetting,
  { runtime }: ImageServiceConfiguration,
): readonly Warning[] {
  if (credential === undefined || runtime?.driver.type !== 'cri') return [];
  const { driver, config } = credential.source;
  const isToken = driver.type === 'static' && isMapping(config) && config.registryToken !== undefined;
  return isToken
    ? [
        {
          setting: `${credential.setting}.registryToken`,
          message: 'containerd ignores registry tokens; write `username` and `password`, or `identityToken`',
        },
      ]
    : [];
}
