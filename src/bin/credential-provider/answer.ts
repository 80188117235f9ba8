import type { Log } from '../../contracts/index.js';
import { machineCredential } from '../../credential-sources/machine/machine-credential.js';
import { RegistryError } from '../../errors.js';
import type { ImageReference } from '../../reference/image-reference.js';
import { credentialOf } from '../one-question/credential-of.js';
import { HelperError } from '../one-question/helper-error.js';
import { type PodToken, readPodToken } from './pod-token.js';
import type { ProviderRequest } from './provider-request.js';
import { printAnswer, printNothing } from './provider-response.js';
import { type FoundRule, findRule } from './responsible-provider.js';
import type { ProviderRule, RulesFile } from './rules-file.js';

export interface ProviderCall {
  /** Of this provider; absent: it is the one that gets no tokens. */
  readonly audience?: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly now: () => number;
}

/**
 * What kubelet is answered.
 *
 * @throws HelperError; the signal's reason
 */
export async function answerTo(
  request: ProviderRequest,
  file: RulesFile,
  call: ProviderCall,
): Promise<string> {
  const { audience, log } = call;
  const token = tokenFor(request, file.rules, call);
  const { image } = request;
  const found = findRule(file.rules, { image, ...(token?.pod && { pod: token.pod }) });
  if (found === undefined) {
    log.debug({ image }, `no rule of ${file.file} is for this image`);
    return printNothing('configuration');
  }
  if (found.provider !== audience) {
    log.debug({ image, rule: found.rule.name }, otherProviderText(found.provider));
    return printNothing('configuration');
  }
  return answerBy(found, { image, ...(token && { token }) }, file, call);
}

/** @throws HelperError where kubelet's configuration and ours do not agree, or the token is not for us */
function tokenFor(
  { token }: ProviderRequest,
  rules: readonly ProviderRule[],
  { audience, now }: ProviderCall,
): PodToken | undefined {
  if (audience !== undefined && !rules.some(({ podIdentity }) => podIdentity?.audience === audience)) {
    throw new HelperError(`--audience: no rule has a podIdentity for ${audience}`, 2);
  }
  if (token === undefined) return undefined;
  if (audience !== undefined) return readPodToken(token, audience, now());
  throw new HelperError(
    "kubelet gives this provider tokens of pods, and it has no --audience: take both from --print-config, or leave out this provider's tokenAttributes",
  );
}

function otherProviderText(provider: string | undefined): string {
  return provider === undefined
    ? 'it is for the provider without --audience'
    : `it is for the provider with --audience ${provider}`;
}

async function answerBy(
  { image: reference, rule }: FoundRule,
  { image, token }: { readonly image: string; readonly token?: PodToken },
  file: RulesFile,
  call: ProviderCall,
): Promise<string> {
  const { log, now } = call;
  const key = authKey(image, reference);
  if (rule.podIdentity !== undefined && token !== undefined) {
    return printAnswer({ key, credential: podCredential(rule.podIdentity.username, token) }, now());
  }
  if (!rule.hasCredentials) {
    log.debug({ image, rule: rule.name }, 'the pod has no token, and the rule has no credentials');
    return printNothing('configuration');
  }
  const { driver, config } = await file.configure(rule);
  const { baseDirectory } = file;
  const credential = await credentialOf(driver, config, { ...reference.repository, baseDirectory, ...call });
  if (credential === undefined) {
    log.debug({ image, rule: rule.name }, `${driver.type} has nothing to show`);
    return printNothing('source');
  }
  return printAnswer({ key, credential }, now());
}

function podCredential(username: string, { text, expiresAt, refreshAt }: PodToken) {
  try {
    return machineCredential(username, text.reveal(), { expiresAt, refreshAt });
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    throw new HelperError(error.reason ?? error.message, 1, { cause: error });
  }
}

/**
 * The key of `auth` that kubelet finds this image by: its registry as kubelet wrote it, for case counts there, and its
 * repository. `/v1/` and `/v2/` at the beginning of a path are no part of it to kubelet, which takes them away once
 * (kubernetes `pkg/credentialprovider/keyring.go`).
 */
export function authKey(image: string, { repository: { registry, name } }: ImageReference): string {
  const written = image.slice(0, registry.length);
  const host = written.toLowerCase() === registry ? written : registry;
  return /^v[12]\//.test(name) ? `${host}/v2/${name}` : `${host}/${name}`;
}
