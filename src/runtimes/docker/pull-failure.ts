import { RuntimeError, type RuntimeFault } from '../../contracts/runtime.js';
import { type ErrorCode, RegistryError } from '../../errors.js';
import { oneToldLine, toldText, type Untold } from '../../protocol/told-text.js';
import { type ImageReference, printImageReference } from '../../reference/image-reference.js';
import { withoutTag } from '../../reference/without-tag.js';

type Kind =
  | { readonly code: ErrorCode; readonly fault?: never }
  | { readonly fault: RuntimeFault; readonly code?: never };

/**
 * What the engine's words mean, the first that matches: its statuses tell little (404 for a refusal, 500 for almost
 * anything). Both image stores of the engine, its own and containerd's, and what registries send through them.
 */
const meanings: readonly (readonly [RegExp, Kind])[] = [
  [/authorization denied by plugin/i, { fault: 'failed' }],
  [/no space left on device|disk quota exceeded/i, { fault: 'full' }],
  [
    /signature (?:verification|validation|was required)|no valid signature|content trust|trust data|image verif/i,
    { fault: 'signature' },
  ],
  [/toomanyrequests|too many requests|rate limit|\b429\b/i, { code: 'TOOMANYREQUESTS' }],
  [/\bHTTP (?:status: ?)?50[0234]\b/i, { code: 'UNAVAILABLE' }],
  [
    /\b50[0234] (?:internal server error|bad gateway|service unavailable|gateway time-?out)/i,
    { code: 'UNAVAILABLE' },
  ],
  // A client of ours is not allowed what it asks for, and has shown who it is.
  [/insufficient_scope/i, { code: 'DENIED' }],
  // ECR answers 403 to a token that is over.
  [/authorization token (?:has expired|is invalid)/i, { code: 'UNAUTHORIZED' }],
  [/unauthorized|no basic auth credentials|authentication required/i, { code: 'UNAUTHORIZED' }],
  // Without a cause behind it this is a 401, from the containerd image store.
  [/may require 'docker login'$/i, { code: 'UNAUTHORIZED' }],
  [/(?<!permission )\bdenied\b|\b403 forbidden|\bHTTP 403\b/i, { code: 'DENIED' }],
  [/name unknown|repository \S* ?not (?:found|known)/i, { code: 'NAME_UNKNOWN' }],
  [/manifest unknown|no matching manifest/i, { code: 'MANIFEST_UNKNOWN' }],
  [/\bnot found\b|(?<!layer )does not exist/i, { code: 'MANIFEST_UNKNOWN' }],
  [
    /\bdial (?:tcp|udp|unix)\b|connection re(?:fused|set)|no such host|no route to host/i,
    { code: 'UNAVAILABLE' },
  ],
  [/network is unreachable|server misbehaving|broken pipe|proxyconnect/i, { code: 'UNAVAILABLE' }],
  [/i\/o timeout|deadline exceeded|client\.timeout|handshake timeout/i, { code: 'UNAVAILABLE' }],
  [/\bEOF\b|\bx509: |\btls: |HTTP response to HTTPS client/, { code: 'UNAVAILABLE' }],
  [/service unavailable/i, { code: 'UNAVAILABLE' }],
  // We did not cancel it: the engine ends.
  [/context canceled/i, { fault: 'unavailable' }],
];

/** What a status means where the words say nothing: of the answer, or the registry's in the error's `code`. */
const statuses: ReadonlyMap<number, Kind> = new Map<number, Kind>([
  [401, { code: 'UNAUTHORIZED' }],
  [403, { code: 'DENIED' }],
  [404, { code: 'MANIFEST_UNKNOWN' }],
  [429, { code: 'TOOMANYREQUESTS' }],
  [502, { code: 'UNAVAILABLE' }],
  [503, { code: 'UNAVAILABLE' }],
  [504, { code: 'UNAVAILABLE' }],
]);

export interface EngineFailure {
  readonly message: string;
  readonly status?: number;
}

/**
 * What the engine could not pull, as an error whose words are the engine's own.
 *
 * @param untold what must not be told
 */
export function pullFailure(
  { message, status }: EngineFailure,
  image: ImageReference,
  untold: readonly Untold[],
): RegistryError | RuntimeError {
  const line = oneToldLine(message, untold);
  const said = toldText(message, untold);
  const kind = meaningOf(withoutNames(line, image)) ?? statuses.get(status ?? 0) ?? { fault: 'failed' };
  if (kind.code !== undefined) return new RegistryError(kind.code, { reason: said });
  return new RuntimeError(kind.fault, said);
}

function meaningOf(words: string): Kind | undefined {
  return meanings.find(([pattern]) => pattern.test(words))?.[1];
}

/** A repository may be called `denied/eof`, and its tag `unauthorized`. A bare word that names one stays: it may be said. */
function withoutNames(text: string, { repository, tag, digest }: ImageReference): string {
  const { registry, name } = repository;
  const short = name.startsWith('library/') ? name.slice('library/'.length) : name;
  const suffixes = [tag && `:${tag}`, digest && `@${digest}`, ''].filter((one) => one !== undefined);
  const names = [printImageReference({ repository }), `${registry}/${name}`, name, short]
    .flatMap((one) => suffixes.map((suffix) => `${one}${suffix}`))
    .filter((one) => /[/:@]/.test(one));
  let words = text;
  for (const one of names) words = words.replaceAll(one, 'IMAGE');
  words = words.replaceAll(registry, 'REGISTRY');
  return tag === undefined ? words : withoutTag(words, tag);
}
