import type { Readable } from 'node:stream';
import type {
  ClientCredentials,
  Headers,
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
}

/** What a client is answered. */
export interface ClientResponse extends RegistryResponse {
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
  digest?: string;
  upstream?: string;
  upstreamRepository?: string;
  rule?: string;
  /** What the request needs: what a challenge then asks for. */
  wanted?: Scope;
}
