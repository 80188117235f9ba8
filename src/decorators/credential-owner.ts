/** Whose credential it is, for labels, log lines and messages. */
export type CredentialOwner =
  | {
      /** The upstream's configured name. */
      readonly upstream: string;
      /** Its place among the credentials of the upstream, from 1. */
      readonly credential: number;
    }
  | {
      /** The configured name of a rule for images. */
      readonly rule: string;
    };

/** For messages: `credential 1 of upstream gcr`. */
export function describeOwner(owner: CredentialOwner): string {
  return 'rule' in owner
    ? `the credential of rule '${owner.rule}'`
    : `credential ${owner.credential} of upstream ${owner.upstream}`;
}

/** For log lines. */
export function ownerFields(owner: CredentialOwner): Readonly<Record<string, string | number>> {
  return 'rule' in owner ? { rule: owner.rule } : { upstream: owner.upstream, credential: owner.credential };
}
