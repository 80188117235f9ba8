import { z } from 'zod';
import type { AttributeValue } from '../../contracts/index.js';
import type { ShownSecret } from '../outside/shown-secret.js';

const apiVersion = 'authentication.k8s.io/v1';

/**
 * What TokenReview has no field for stands in annotations: a server that was made for Kubernetes leaves them unread,
 * where an unknown field may make it refuse the whole.
 */
export const annotations = {
  /** The user name a password came with. As the client says: it is for the webhook to verify. */
  username: 'docker-registry-proxy/username',
  /** `password` or `bearer`: how `spec.token` was shown. */
  credential: 'docker-registry-proxy/credential',
  /** The client's IP address. */
  clientAddress: 'docker-registry-proxy/client-address',
} as const;

/** A TokenReview to send (Kubernetes API, authentication.k8s.io/v1). */
export function reviewRequest(
  { kind, username, secret, address }: ShownSecret,
  audiences: readonly string[] | undefined,
): object {
  return {
    apiVersion,
    kind: 'TokenReview',
    metadata: {
      annotations: {
        ...(username !== undefined && { [annotations.username]: username }),
        [annotations.credential]: kind,
        [annotations.clientAddress]: address,
      },
    },
    spec: { token: secret.reveal(), ...(audiences && { audiences }) },
  };
}

export interface TokenReviewStatus {
  readonly authenticated: boolean;
  /** Empty where there is none. */
  readonly error: string;
  readonly audiences: readonly string[];
  /** Where it is authenticated and there is a name. */
  readonly user?: {
    readonly name: string;
    readonly groups: readonly string[];
    readonly attributes: Readonly<Record<string, AttributeValue>>;
  };
}

/** Go's encoders leave out what is false or empty, or write it as null. */
const texts = z
  .array(z.string())
  .nullish()
  .transform((list) => list ?? []);
const text = z
  .string()
  .nullish()
  .transform((one) => one ?? '');

const schema = z.object({
  apiVersion: z.literal(apiVersion),
  kind: z.literal('TokenReview'),
  status: z.object({
    authenticated: z.boolean().nullish(),
    error: text,
    audiences: texts,
    user: z
      .object({ username: text, uid: text, groups: texts, extra: z.record(z.string(), texts).nullish() })
      .nullish(),
  }),
});

/**
 * @param quote makes a name that the server chose fit for a log
 * @returns the status, or what is wrong with the answer; that never quotes values
 */
export function reviewFrom(
  body: string,
  quote: (name: string) => string,
): TokenReviewStatus | { readonly fault: string } {
  const json = parseJson(body);
  if (json === undefined) return { fault: 'it is not JSON' };
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const place = issue?.path.map((one, i, path) =>
      path[i - 1] === 'extra' ? quote(String(one)) : String(one),
    );
    return { fault: `${place?.join('.') || 'it'}: ${issue?.message}` };
  }
  const { authenticated, error, audiences, user } = parsed.data.status;
  const status = { authenticated: authenticated === true, error, audiences };
  if (!user?.username) return status;
  const { username: name, uid, groups, extra } = user;
  const attributes = Object.fromEntries([
    ...Object.entries(extra ?? {}).flatMap(([key, list]) => attributeOf(key, list)),
    ...(uid === '' ? [] : [['uid', uid] as const]),
  ]);
  return { ...status, user: { name, groups: groups.filter((group) => group !== ''), attributes } };
}

/** Kubernetes has lists only; most hold one text, and a rule compares texts. */
function attributeOf(key: string, list: readonly string[]): readonly (readonly [string, AttributeValue])[] {
  const [first, ...more] = list;
  if (first === undefined) return [];
  return [[key, more.length === 0 ? first : list]];
}

/** A parse error of JSON quotes the text. */
function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
