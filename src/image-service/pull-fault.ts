import { RuntimeError } from '../contracts/runtime.js';
import { type ErrorCode, RegistryError } from '../errors.js';
import { grpcStatus } from '../protocol/grpc-status.js';
import { withoutTag } from '../reference/without-tag.js';
import { referenceOf } from './credential-rules.js';
import type { PullFault } from './pull-attempt.js';

const statusFaults: ReadonlyMap<number, PullFault> = new Map([
  [grpcStatus.CANCELLED, 'stopped'],
  [grpcStatus.DEADLINE_EXCEEDED, 'stopped'],
  [grpcStatus.NOT_FOUND, 'not found'],
  [grpcStatus.PERMISSION_DENIED, 'denied'],
  [grpcStatus.UNAVAILABLE, 'runtime'],
  [grpcStatus.UNAUTHENTICATED, 'unauthorized'],
]);

/** Of a status that needs no words; a broken connection speaks of `EOF`, as a registry's does. */
const exact: ReadonlySet<PullFault> = new Set(['runtime', 'denied', 'unauthorized']);

/**
 * What runtimes say, the first that matches counts: a text often holds several, and an inner one says more than the sentence
 * around it. containerd 1.6 to 2.x (`remotes/docker`), CRI-O (containers/image `docker`), dockerd behind cri-dockerd
 * (distribution `errcode`), and what our own front adds.
 */
const texts: readonly (readonly [PullFault, RegExp])[] = [
  ['signature', /^SignatureValidationFailed|\bSource image rejected\b/],
  ['registry', /^RegistryUnavailable/],
  ['full', /\bno space left\b|\bdisk quota exceeded\b/i],
  ['runtime', /\bCannot connect to the Docker daemon\b|\bdial unix\b/],
  [
    'rate limited',
    /\btoomanyrequests: |\b429 Too Many Requests\b|\b(?:StatusCode:|HTTP) 429\b|\btoo many requests\b|\bpull rate limit\b/i,
  ],
  // ECR answers 403 for a token that has ended. A token endpoint refuses with 400 too (RFC 6749 section 5.2); containerd
  // speaks of an `oauth token` where it showed something.
  [
    'unauthorized',
    /\bauthorization token has expired\b|\binvalid_token\b|\bno basic auth credentials\b|\bmissing username or secret\b|\bincorrect username or password\b|\binvalid username\/password\b|\bfailed to fetch oauth token: .*\b40[01] (?:Bad Request|Unauthorized)\b/i,
  ],
  // Docker Hub answers 401 where who is known may not, and says so in the challenge alone.
  [
    'denied',
    /\binsufficient_scope\b|\bdenied: |\baccess to the resource is denied\b|\bpull access denied\b|\b403 Forbidden\b|\b403 \(Forbidden\)|\b(?:StatusCode:|HTTP) 403\b/i,
  ],
  [
    'unauthorized',
    /\b401 Unauthorized\b|\b401 \(Unauthorized\)|\b(?:StatusCode:|HTTP) 401\b|\bunauthorized: |\bauthentication required\b/i,
  ],
  ['stalled', /\bno progress\b/i],
  [
    'registry',
    /\b50[0234] (?:Internal Server Error|Bad Gateway|Service (?:Temporarily )?Unavailable|Gateway Time-?out)\b|\b(?:StatusCode:|HTTP|HTTP status:) 50[0234]\b|\binvalid status code from registry 50[0234]\b/i,
  ],
  [
    'registry',
    /\bdial (?:tcp|udp)\b|\bno such host\b|\bconnection re(?:fused|set by peer)\b|\bi\/o timeout\b|\bTLS handshake timeout\b|\bx509: |\btls: |\bEOF\b|\bHTTP response to HTTPS client\b|\bnetwork is unreachable\b|\bno route to host\b|\brequest canceled while waiting for connection\b|\bClient\.Timeout exceeded\b/i,
  ],
  [
    'not found',
    /\bmanifest unknown\b|\bname unknown\b|\brepository name not known\b|: not found\b|\bmanifest for .* not found\b|\b404 Not Found\b|\b(?:StatusCode:|HTTP) 404\b/i,
  ],
  ['stopped', /\bcontext (?:canceled|deadline exceeded)\b/],
];

const longest = 16_384;
/** With a slash, and yet no name. */
const words = /^(?:username\/password|i\/o)[:,.]?$/;

/**
 * Why a pull failed, by what a CRI runtime answers: containerd, CRI-O and cri-dockerd say most of it in words alone, under
 * UNKNOWN.
 *
 * @param status of gRPC
 * @param text its message
 * @param image what was asked for, as kubelet names it
 */
export function faultOf(status: number, text: string, image: string): PullFault {
  const byStatus = statusFaults.get(status);
  if (byStatus !== undefined && exact.has(byStatus)) return byStatus;
  const unnamed = text
    .slice(0, longest)
    .replace(/\s+/g, ' ')
    .replace(/[^ "]+/g, withoutNames);
  const tag = referenceOf(image)?.tag;
  const said = tag === undefined ? unnamed : withoutTag(unnamed, tag);
  const byText = texts.find(([, pattern]) => pattern.test(said))?.[0];
  // Words say what the runtime waited for when it stopped, or what was refused where nothing was found.
  return byText === undefined || byText === 'stopped' ? (byStatus ?? byText ?? 'other') : byText;
}

/**
 * Whoever names an image chooses much of the text: a repository may be called `denied`, and a tag too, which stands alone. Punctuation stays, for
 * `docker.io/library/app:1.2: not found` is what it is by its last colon.
 */
function withoutNames(word: string): string {
  if (!word.includes('/') || words.test(word)) return word;
  return `name${/[:,.;)\]]*$/.exec(word)?.[0] ?? ''}`;
}

const codeFaults: Partial<Readonly<Record<ErrorCode, PullFault>>> = {
  UNAUTHORIZED: 'unauthorized',
  DENIED: 'denied',
  NAME_UNKNOWN: 'not found',
  MANIFEST_UNKNOWN: 'not found',
  BLOB_UNKNOWN: 'not found',
  TOOMANYREQUESTS: 'rate limited',
  UNAVAILABLE: 'registry',
};

const runtimeFaults = {
  unavailable: 'runtime',
  stalled: 'stalled',
  signature: 'signature',
  full: 'full',
  'in use': 'other',
  failed: 'other',
} as const;

/** Why a pull failed, by what `Runtime.pull` throws. */
export function faultOfError(error: unknown): PullFault {
  if (error instanceof RegistryError) return codeFaults[error.code] ?? 'other';
  if (error instanceof RuntimeError) return runtimeFaults[error.fault];
  return 'other';
}
