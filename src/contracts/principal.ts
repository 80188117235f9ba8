export type AttributeValue = string | number | boolean | readonly string[];

/** Who is asking, as one verifier found out. */
export interface Principal {
  /** The configured id of the verifier that vouches. Names and groups belong to it: `corp:alice`, never bare `alice`. */
  readonly verifier: string;
  /** Unique within the verifier. */
  readonly name: string;
  /** Machines and anonymous principals never get refresh tokens. */
  readonly kind: 'human' | 'machine' | 'anonymous';
  /** Unqualified: they are qualified with `verifier` where they are compared. */
  readonly groups: readonly string[];
  /** What rules can speak of: `accountId`, `projectId`, `namespace`, … */
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  /** Milliseconds since the epoch: caps every token and cache made from this. */
  readonly expiresAt?: number;
  /**
   * Opaque, at most 64 characters; another one once the password was changed: refresh tokens of before then end. Only
   * where the verifier can tell. Never in a token, a log or a rule.
   */
  readonly credentialVersion?: string;
}

/** `corp:alice`: how rules, logs and tokens name a principal. */
export function qualifiedName(principal: Principal): string {
  return `${principal.verifier}:${principal.name}`;
}
