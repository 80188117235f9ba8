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
  return outOfEnvelope(shown.password.reveal());
}

/**
 * @returns the text itself where it is no envelope
 * @throws RegistryError UNAUTHORIZED for one that was cut, or that a later version made
 */
export function outOfEnvelope(password: string): string {
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

/**
 * The refusal of a machine that is on no list: "the account 999999999999 is not one of `accounts` (i-0abc)".
 *
 * @param what is not on it: `the account`
 * @param value of that; absent where the machine has none
 * @param setting the list
 * @param who for operators: which machine, where that is not said yet
 */
export function notListed(
  what: string,
  value: string | undefined,
  setting: string,
  who?: string,
): RegistryError {
  const more = who === undefined ? '' : ` (${who})`;
  return refused(`${what} ${value ?? '(none)'} is not one of \`${setting}\`${more}`);
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
