import { describeError } from '../../errors.js';
import { plainEnvironment } from '../configured-program.js';
import type { ProgramTurns } from '../program-turns.js';
import { endedBadly, type ProgramResult, runProgram } from '../run-program.js';
import type { AwsIdentity } from './identity-call.js';
import { identityIn, NoIdentity } from './identity-document.js';
import { splitCommand } from './split-command.js';

/** Variables of ours that say where things are. None holds a secret, as keys, container tokens and proxies do. */
const inherited: readonly string[] = [
  'AWS_CA_BUNDLE',
  'AWS_CONFIG_FILE',
  'AWS_DEFAULT_REGION',
  'AWS_EC2_METADATA_DISABLED',
  'AWS_PROFILE',
  'AWS_REGION',
  'AWS_ROLE_ARN',
  'AWS_ROLE_SESSION_NAME',
  'AWS_SHARED_CREDENTIALS_FILE',
  'AWS_STS_REGIONAL_ENDPOINTS',
  'AWS_USE_DUALSTACK_ENDPOINT',
  'AWS_USE_FIPS_ENDPOINT',
  'AWS_WEB_IDENTITY_TOKEN_FILE',
];

/**
 * Asks the program of a profile's `credential_process` (AWS SDKs and Tools reference guide, "Process credential
 * provider"). No shell reads its line, and it inherits no secret of ours (threat 26).
 *
 * @throws NoIdentity, which quotes nothing of the line or of what it wrote
 */
export async function processIdentity(
  line: string,
  {
    turns,
    signal,
    now,
  }: { readonly turns: ProgramTurns; readonly signal: AbortSignal; readonly now: number },
): Promise<AwsIdentity> {
  const [program, ...args] = splitCommand(line) ?? [];
  if (!program || line.includes('\0')) throw failed('it is no command line: is a quote left open?');
  let result: ProgramResult;
  try {
    const call = { program, args, environment: environment(), input: '' };
    result = await turns.run({ signal }, (o) => runProgram({ ...call, ...o }));
  } catch (error) {
    signal.throwIfAborted();
    throw failed(describeError(error));
  }
  if (result.code !== 0) throw failed(endedBadly(result.code));
  return identityIn(result.stdout.toString('utf8'), { token: 'SessionToken', now, version: 1 });
}

function failed(why: string): NoIdentity {
  return new NoIdentity(`its credential_process: ${why}`);
}

function environment(): Record<string, string> {
  const ours = inherited.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...plainEnvironment(['HOME']), ...Object.fromEntries(ours) };
}
