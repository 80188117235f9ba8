import type { ConfiguredCredential } from '../../config/configuration.js';
import type {
  ImageRuleSetting,
  ImageServiceConfiguration,
} from '../../config/image-service/configuration.js';
import type { CredentialSource } from '../../contracts/credential-source.js';
import {
  type LastAnswer,
  type LastRefusal,
  RefreshedCredentials,
} from '../../decorators/refreshed-credentials.js';
import type { CredentialRule } from '../../image-service/credential-rules.js';
import { isRegistryHost, parseRegistryHost } from '../../reference/registry-host.js';
import { type Opened, type Opener, OpeningError } from '../opener.js';
import { LateSource } from './late-source.js';

/** A rule with its source, and what is known of its credential. */
export interface OpenedRule {
  readonly rule: CredentialRule;
  /** Gets its credential now, and from now on before it is needed. Never throws and never waits. */
  keepReady(): void;
  /** Undefined where its source was not asked yet, or is not counted. */
  lastAnswer(): LastAnswer | undefined;
  /** Undefined where what it gave was not refused, or was taken since. */
  lastRefusal(): LastRefusal | undefined;
}

/** To everybody behind, a rule of it is one without credentials: nothing to refresh, and nothing that could be missing. */
const anonymous = 'anonymous';

/** What they give has no end as a rule, and is asked for with each pull: to ask once a minute beside is of no use. */
const askedEachTime: readonly string[] = ['static', 'docker-config', 'exec'];

/** A source that cannot be opened is told, and tried again when a pull wants it: its rule is there, and has no credential. */
export async function openRules(
  opener: Opener,
  { images }: Pick<ImageServiceConfiguration, 'images'>,
): Promise<readonly OpenedRule[]> {
  const opened: OpenedRule[] = [];
  for (const setting of images) opened.push(await openRule(opener, setting, openSooner));
  return opened;
}

/** @throws OpeningError naming the setting, as `openSource` does */
export async function openRule(
  opener: Opener,
  setting: ImageRuleSetting,
  openSource: typeof openNow = openNow,
): Promise<OpenedRule> {
  const { name, match, namespaces, annotations, credential } = setting;
  const rule: CredentialRule = {
    ...{ name, match },
    ...(namespaces && { namespaces }),
    ...(annotations && { annotations }),
  };
  const nothing = { keepReady: () => {}, lastAnswer: () => undefined, lastRefusal: () => undefined };
  if (credential === undefined || credential.source.driver.type === anonymous) return { rule, ...nothing };
  const { type } = credential.source.driver;
  const { part: inner, key, failure } = await openSource(opener, name, credential);
  const { part: source } = await opener.share(['refreshed', name, key], async () => {
    const refreshed = new RefreshedCredentials(inner, { ...opener.surroundings, rule: name });
    if (failure !== undefined) refreshed.noteFailure(failure);
    return refreshed;
  });
  return {
    rule: { ...rule, credentials: { type, source } },
    keepReady: () => {
      const host = match.host.text;
      // Of a pattern nobody knows yet which registries it stands for.
      if (!isRegistryHost(host) || askedEachTime.includes(type)) return source.tellLastUse();
      source.keepReady({ registry: parseRegistryHost(host) });
    },
    lastAnswer: () => source.lastAnswer,
    lastRefusal: () => source.lastRefusal,
  };
}

interface OpenedSource extends Opened<CredentialSource> {
  /** Why it is not open yet. */
  readonly failure?: string;
}

function openNow(opener: Opener, name: string, credential: ConfiguredCredential): Promise<OpenedSource> {
  return opener.open<'credential-source'>(credential.setting, name, credential.source, {});
}

/** Now, or else when it is wanted. */
async function openSooner(
  opener: Opener,
  name: string,
  credential: ConfiguredCredential,
): Promise<OpenedSource> {
  try {
    return await openNow(opener, name, credential);
  } catch (error) {
    if (!(error instanceof OpeningError)) throw error;
    const { clock, log } = opener.surroundings;
    log.error(
      { rule: name, reason: error.message },
      'the credential source of a rule cannot be opened: pulls go on without it until it can',
    );
    const open = async (own: Opener) => (await openNow(own, name, credential)).part;
    const late = await opener.share(
      ['late', name, credential.setting, credential.source.raw],
      async () => new LateSource({ rule: name, open, opener: opener.another(), failure: error, clock, log }),
    );
    return { ...late, failure: error.message };
  }
}
