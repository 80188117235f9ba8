import type { Readable } from 'node:stream';
import type {
  CacheOutcome,
  ClientCredentials,
  Headers,
  Principal,
  RegistryMethod,
  RegistryOperation,
  RegistryResponse,
} from '../contracts/index.js';
import type { Scope } from '../reference/scope.js';
import type { ServedHost } from '../routing/served-host.js';

/** A client's request, parsed once. */
export interface ClientRequest {
  readonly host: ServedHost;
  readonly method: RegistryMethod;
  readonly operation: RegistryOperation;
  /** The registry a containerd mirror stands in for (`?ns=`). */
  readonly ns?: string;
  readonly headers: Headers;
  readonly body?: Readable;
  /** A bearer token is one of ours; a password is verified on the spot. */
  readonly credentials: ClientCredentials;
  /** Told who asks, as soon as that is known. @throws RegistryError TOOMANYREQUESTS */
  readonly admit: (who: Principal) => void;
}

/** What a client is answered. */
export interface ClientResponse extends Omit<RegistryResponse, 'location' | 'nextPage'> {
  /** With 307 the storage's URL; otherwise a path of ours. */
  readonly location?: string;
  /** `Link` of the next page, with the client's own repository name. */
  readonly link?: string;
}

/** What the access log says of a request; filled in as it becomes known, so that failures have it too. */
export interface AccessRecord {
  /** The user name shown with a password, accepted or refused, where a verifier knows it. */
  user?: string;
  principal?: string;
  verifier?: string;
  action?: string;
  /** The canonical name. */
  repository?: string;
  reference?: string;
  tag?: string;
  digest?: string;
  /** The canonical name of the repository a blob is mounted from. */
  mountedFrom?: string;
  upstream?: string;
  upstreamRepository?: string;
  rule?: string;
  /** What the cache made of it. */
  cache?: CacheOutcome['result'];
  /** What the request needs: what a challenge then asks for. */
  wanted?: readonly Scope[];
}
