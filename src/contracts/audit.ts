/**
 * What the audit log says of one request. The names are stable: fields may be added, none is renamed or given another
 * meaning (`docs/audit.md`).
 */
export interface AuditEvent {
  readonly event:
    | 'pull'
    | 'push'
    | 'delete'
    | 'login'
    | 'refusal'
    /** By browser. */
    | 'sign-in'
    /** Of personal access tokens, by their owner. */
    | 'token-created'
    | 'token-revoked';
  /** `failed`: it was allowed, and did not come to its end. */
  readonly result: 'ok' | 'refused' | 'failed';
  /** Also in the access log, and in the answer's `X-Request-Id`. */
  readonly requestId: string;
  /** The client's IP address. */
  readonly address: string;
  /** The served host, or for a login the service the token is for. */
  readonly service: string;
  /** `corp:alice`; absent where nobody is known. */
  readonly principal?: string;
  /** The id of the verifier that vouched; without a principal, of the one that refused or could not tell. */
  readonly verifier?: string;
  /** The user name shown with a password, where a verifier knows it. */
  readonly user?: string;
  readonly object?: 'manifest' | 'blob' | 'upload' | 'tags' | 'referrers' | 'catalog' | 'token';
  /** What was needed: `pull`, `pull,push`, `delete`. */
  readonly action?: string;
  /** The canonical name. */
  readonly repository?: string;
  readonly tag?: string;
  readonly digest?: string;
  /** The canonical name of the repository a blob was mounted from. */
  readonly mountedFrom?: string;
  readonly upstream?: string;
  /** The repository's name there. */
  readonly upstreamRepository?: string;
  readonly rules?: readonly string[];
  /** Of a login: the scopes in the token. */
  readonly granted?: readonly string[];
  /** The id of a personal access token, as `tokens list` shows it. */
  readonly token?: string;
  /** Of the HTTP answer; 499 where the client had gone. */
  readonly status: number;
  /** Of the body, to a client or from one. */
  readonly bytes?: number;
  /** The error's code. */
  readonly error?: string;
  /** For operators. Never holds a secret. */
  readonly reason?: string;
}

/**
 * What the audit log of `kubelet-image-service` says of one image that was pulled, or was not (`docs/audit.md`). As stable
 * as those of requests.
 */
export interface ImagePullEvent {
  readonly event: 'image-pull';
  /** `refused`: by the registry, or as nobody's request. `failed`: anything else that kept it from being pulled. */
  readonly result: 'ok' | 'refused' | 'failed';
  /** As kubelet names it. */
  readonly image: string;
  /** As kubelet says: the pod it is pulled for. */
  readonly namespace?: string;
  readonly pod?: string;
  readonly podUid?: string;
  /** What was shown in the end: `kubelet`'s own (a pull secret), that of a `rule`, or `none`. */
  readonly credential: 'kubelet' | 'rule' | 'none';
  /** The rule that matched, also where its source failed: its pattern. */
  readonly rule?: string;
  /** The type of its credential source. */
  readonly source?: string;
  /** The image's id, or a digest: as the runtime names what was pulled. */
  readonly imageRef?: string;
  /** Milliseconds. */
  readonly duration: number;
  /** Downloaded, where the runtime tells. */
  readonly bytes?: number;
  /** The gRPC status of the answer; 0 where it is fine. */
  readonly status: number;
  /** For operators. Never holds a secret. */
  readonly reason?: string;
}

/** Where audit events go. */
export interface Audit {
  /** Never throws and never waits. */
  record(event: AuditEvent | ImagePullEvent): void;
}
