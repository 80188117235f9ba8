import { join } from 'node:path';
import { stringify } from 'yaml';
import { shellWord } from '../../http/pages/shell-lines.js';
import { HelperError } from '../one-question/helper-error.js';
import { version } from '../version.js';
import { type KubeletProvider, kubeletProviders, plainName } from './kubelet-providers.js';
import { mostLabels } from './match-images.js';
import { providerVersion } from './provider-request.js';
import { isUsable } from './responsible-provider.js';
import type { RulesFile } from './rules-file.js';

export interface PrintedConfig {
  /** Where kubelet looks for providers. */
  readonly binDir: string;
  /** For kubelets that know no tokens. */
  readonly withoutTokens?: boolean;
}

/**
 * A CredentialProviderConfig (`kubelet.config.k8s.io/v1`) for all rules of a file, with what else has to be done as
 * comments. Loads no credentials: `check` looks at those.
 *
 * @throws HelperError where there is nothing to answer by, or a path that would leave its comment
 */
export function printKubeletConfig(
  { file, rules }: RulesFile,
  { binDir, withoutTokens = false }: PrintedConfig,
): string {
  refuseControls('--config', file);
  refuseControls('--bin-dir', binDir);
  const providers = kubeletProviders(rules, withoutTokens);
  const usesTokens = !withoutTokens && providers.some(({ tokens }) => tokens !== undefined);
  const config = {
    apiVersion: 'kubelet.config.k8s.io/v1',
    kind: 'CredentialProviderConfig',
    providers: providers.map((provider) => entryFor(provider, file, usesTokens)),
  };
  const notes = [
    ...usageNotes(file, binDir, providers),
    ...(usesTokens ? tokenNotes : []),
    ...(withoutTokens ? withoutTokensNotes : []),
    ...ruleNotes(rules),
  ];
  return `${notes.map((line) => `# ${line}`.trimEnd()).join('\n')}\n${stringify(config, { lineWidth: 0 })}`;
}

/** @throws HelperError. Also for what ends a line in YAML 1.1 alone, which kubelet's parser reads */
function refuseControls(option: string, path: string): void {
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(path)) {
    throw new HelperError(`${option}: expected a path without line breaks and control characters`, 2);
  }
}

function entryFor({ name, matchImages, tokens }: KubeletProvider, file: string, usesTokens: boolean): object {
  return {
    name,
    matchImages,
    // Only where an answer does not say, and each says.
    defaultCacheDuration: '0s',
    apiVersion: providerVersion,
    args: [
      'credential-provider',
      ...['--config', file],
      ...(tokens === undefined ? [] : ['--audience', tokens.audience]),
    ],
    ...(usesTokens &&
      tokens && {
        tokenAttributes: {
          serviceAccountTokenAudience: tokens.audience,
          // The pod's own token is what the registry is shown: it is nobody else's.
          cacheType: 'Token',
          requireServiceAccount: tokens.isRequired,
        },
      }),
  };
}

function usageNotes(file: string, binDir: string, providers: readonly KubeletProvider[]): readonly string[] {
  const program = `"$(command -v ${plainName})"`;
  return [
    `Made by ${plainName} ${version} for the rules of ${file}; make it again when its images change.`,
    '',
    'kubelet --image-credential-provider-config=THIS_FILE \\',
    `        --image-credential-provider-bin-dir=${shellWord(binDir)}`,
    '',
    'Where kubelet has such a file already, add these providers to it, and the links to its own directory.',
    'The name of a provider is that of a file there. One that is missing: kubelet does not start.',
    `  mkdir -p ${shellWord(binDir)}`,
    ...providers.map(({ name }) => `  ln -sf ${program} ${shellWord(join(binDir, name))}`),
  ];
}

const tokenNotes = [
  '',
  'tokenAttributes are for Kubernetes 1.34 and newer, of kubelet and of the API server, with the feature gate',
  'KubeletServiceAccountTokenForCredentialProviders, which is on by default. Before that kubelet does not start with',
  'them (1.32 and 1.33), or takes no notice (1.31 and older): --print-config --without-tokens is for those nodes.',
  'kubelets may get such tokens by what --print-rbac prints.',
];

const withoutTokensNotes = [
  '',
  'For kubelets before Kubernetes 1.34: there are no tokens of pods. Rules that have credentials show those, and of rules',
  'that have a podIdentity alone nothing is shown.',
];

function ruleNotes(rules: RulesFile['rules']): readonly string[] {
  const isPatternHost = rules.some(({ match }) => match.host.text.includes('*'));
  return [
    ...(isPatternHost
      ? ['', `A * of kubelet's stands for one label of a host: those with up to ${mostLabels} are listed.`]
      : []),
    ...rules
      .filter((rule) => !isUsable(rule))
      .flatMap(({ name }) => ['', `${name}: left out, for nobody tells a provider a pod's annotations.`]),
  ];
}
