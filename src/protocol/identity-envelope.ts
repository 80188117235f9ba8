/**
 * The user names machines log in with, by what they show as a password. No person may have them, for the verifiers of
 * machines take them for their own.
 */
export const machineUsers = {
  /** An AWS instance identity document. */
  aws: '_aws',
  /** A presigned request to AWS STS. */
  sts: '_sts',
  /** An identity token of Google Cloud. */
  gcp: '_gcp',
  /** An attested document or a managed identity's token of Azure. */
  azure: '_azure',
  /** The token of a Kubernetes ServiceAccount. */
  kubernetes: '_kubernetes',
} as const;

/** True for one of those, and for what is reserved beside it by a suffix: `_kubernetes-a` for one of several clusters. */
export function isUserOf(user: (typeof machineUsers)[keyof typeof machineUsers], username: string): boolean {
  return username === user || username.startsWith(`${user}-`);
}

/** True for any of them. */
export function isMachineUser(username: string): boolean {
  return Object.values(machineUsers).some((user) => isUserOf(user, username));
}

const form = /^drp-id(?<version>[0-9]{1,3})\.(?<proof>[\x21-\x7e]*)$/s;
const current = '1';

/** Characters. Clients send it in a header, base64 coded, and no server takes headers of over 16 KiB. */
const maxLength = 12_000;

/**
 * A machine's proof of who it is, as the password of a docker client: `drp-id1.` and the proof, which stands as it is
 * where it is a text already (a JWT, a query), and as base64url where it is bytes. Docker codes it once more, in its
 * Authorization header, and nothing is coded twice before that.
 *
 * @throws RangeError where no header could carry it
 */
export function identityEnvelope(proof: string): string {
  const envelope = `drp-id${current}.${proof}`;
  if (!form.test(envelope) || envelope.length > maxLength) {
    throw new RangeError(`a proof of ${proof.length} characters cannot be a password`);
  }
  return envelope;
}

/**
 * What is in an envelope.
 *
 * @returns undefined where it is none; a number where it is one of another version
 */
export function proofIn(
  password: string,
): { readonly proof: string } | { readonly version: number } | undefined {
  if (password.length > maxLength) return undefined;
  const { version, proof } = form.exec(password)?.groups ?? {};
  if (version === undefined || proof === undefined) return undefined;
  return version === current ? { proof } : { version: Number(version) };
}

/** True for what is an envelope by its form, also cut or pasted badly: it is nobody's password. */
export function isIdentityEnvelope(text: string): boolean {
  return /^\s*drp-id[0-9]/.test(text);
}
