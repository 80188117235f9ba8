import type { Principal } from '../contracts/index.js';

/** Somebody as an operator describes them. */
export interface Described {
  /** Qualified: `corp:alice`. */
  readonly as: string;
  /** With or without the verifier. */
  readonly groups: readonly string[];
  readonly attributes: Principal['attributes'];
  readonly kind: Principal['kind'];
}

export function principalOf({ as, groups, attributes, kind }: Described): Principal {
  const colon = as.indexOf(':');
  const verifier = as.slice(0, colon);
  return {
    verifier,
    name: as.slice(colon + 1),
    kind,
    groups: groups.map((group) =>
      group.startsWith(`${verifier}:`) ? group.slice(verifier.length + 1) : group,
    ),
    attributes,
  };
}
