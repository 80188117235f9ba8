import type { ClientCredentials } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { isIdentityEnvelope, type machineUsers, proofIn } from '../../protocol/identity-envelope.js';

export type MachineUser = (typeof machineUsers)[keyof typeof machineUsers];

/** True where somebody logs in with the user name of these machines. Nobody else may have that name. */
export function isMachine({ shown }: ClientCredentials, user: MachineUser): boolean {
  return shown.kind === 'password' && shown.username === user;
}

/**
 * What a machine shows: out of its envelope, or as it is where somebody logged in by hand with what the cloud gave them.
 *
 * @returns undefined where another user name is shown, or none
 * @throws RegistryError UNAUTHORIZED for an envelope that was cut, or that a later version made
 */
export function shownProof({ shown }: ClientCredentials, user: MachineUser): string | undefined {
  if (shown.kind !== 'password' || shown.username !== user) return undefined;
  const password = shown.password.reveal();
  const envelope = proofIn(password);
  if (envelope === undefined) {
    if (isIdentityEnvelope(password)) throw refused('its envelope (drp-id…) is damaged');
    return password;
  }
  if ('proof' in envelope) return envelope.proof;
  throw refused(`its envelope is of version ${envelope.version}, which this proxy is too old for`);
}

/**
 * Why a machine is refused. It does not count as a wrong password (`isProof`), and the log may tell the user name, which
 * is one of ours.
 *
 * @param what after "a machine's proof is refused": names accounts and instances, never the proof
 */
export function refused(what: string, cause?: unknown): RegistryError {
  return new RegistryError('UNAUTHORIZED', {
    reason: `a machine's proof is refused: ${what}`,
    knownUser: true,
    isProof: true,
    cause,
  });
}

/** Makes a refusal by shared code, such as that of a token's signature, one of a machine. */
export function asRefusedMachine(error: unknown): unknown {
  if (!(error instanceof RegistryError) || error.code !== 'UNAUTHORIZED') return error;
  const { reason, cause } = error;
  return new RegistryError('UNAUTHORIZED', {
    ...(reason !== undefined && { reason }),
    cause,
    knownUser: true,
    isProof: true,
  });
}
