import { z } from 'zod';
import type { Credential } from '../../contracts/index.js';
import { Secret } from '../../secret.js';
import { parseJson } from '../docker-helper.js';
import { goDuration } from './go-duration.js';

/** Of the request; a provider answers in the version it is asked in. */
export const requestVersion = 'credentialprovider.kubelet.k8s.io/v1';

const cacheKeyTypes = ['Image', 'Registry', 'Global'] as const;
export type CacheKeyType = (typeof cacheKeyTypes)[number];

const versioned = z.looseObject({ apiVersion: z.string(), kind: z.string() });

const authConfig = z.looseObject({ username: z.string().default(''), password: z.string().default('') });
const response = z.looseObject({
  cacheKeyType: z.string().default(''),
  cacheDuration: z.string().transform(goDuration).nullish(),
  auth: z.record(z.string(), authConfig).nullish(),
});

/** A `CredentialProviderResponse` that has credentials. */
export interface KubeletAnswer {
  readonly cacheKeyType: CacheKeyType;
  /** Milliseconds; 0 where it must not be kept. Undefined: the one who asked decides. */
  readonly cacheDuration?: number;
  /** By the pattern of the images they are for. Undefined: these are asked for without a credential. */
  readonly auth: ReadonlyMap<string, Credential | undefined>;
}

/**
 * @returns undefined where it has none
 * @throws an Error that says what is wrong with it, and quotes nothing
 */
export function parseKubeletAnswer(text: string): KubeletAnswer | undefined {
  const json = parseJson(text);
  const { data: type } = versioned.safeParse(json);
  if (type?.kind !== 'CredentialProviderResponse') {
    throw new Error('it gave an answer that is no CredentialProviderResponse');
  }
  if (type.apiVersion !== requestVersion) {
    throw new Error(`it did not answer in the version it was asked in, ${requestVersion}`);
  }
  const parsed = response.safeParse(json);
  if (!parsed.success) {
    // Patterns are keys of the document, and a confused provider may have a password in their place.
    const [place = 'answer'] = parsed.error.issues[0]?.path ?? [];
    throw new Error(`it gave an answer whose ${String(place)} is not as kubelet expects it`);
  }
  const { cacheKeyType, cacheDuration, auth } = parsed.data;
  const entries = Object.entries(auth ?? {});
  if (entries.length === 0) return undefined;
  if (!isCacheKeyType(cacheKeyType)) {
    throw new Error(`it gave an answer whose cacheKeyType is none of ${cacheKeyTypes.join(', ')}`);
  }
  return {
    cacheKeyType,
    ...(typeof cacheDuration === 'number' && { cacheDuration }),
    auth: new Map(entries.map(([key, one]) => [key, credentialOf(one)])),
  };
}

function isCacheKeyType(text: string): text is CacheKeyType {
  return (cacheKeyTypes as readonly string[]).includes(text);
}

/** Either may be empty; with neither there is nothing to show. */
function credentialOf({ username, password }: z.output<typeof authConfig>): Credential | undefined {
  if (username === '' && password === '') return undefined;
  return { kind: 'basic', username, password: new Secret(password) };
}
