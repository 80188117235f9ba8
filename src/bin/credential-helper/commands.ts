import type { Credential } from '../../contracts/index.js';
import { isMachineUser } from '../../protocol/identity-envelope.js';
import type { CredentialCall } from '../one-question/credential-of.js';
import { HelperError } from '../one-question/helper-error.js';
import { version } from '../version.js';
import { parseAskedServer } from './asked-registry.js';
import { notFoundText, printCredential, serverIn, storedUserIn } from './protocol.js';
import { isPublicRegistry } from './public-registry.js';
import type { HelperSettings } from './settings.js';
import { findSettingsFile, settingsVariable, usualSettingsFiles } from './settings-file.js';

const program = 'docker-credential-registry-proxy';
export const usage = `Usage: ${program} <get|store|erase|list|version>

docker runs this; by hand: echo docker.example.com | ${program} get`;

export interface HelperCall extends CredentialCall {
  /** What stands on standard input; not read where it is not asked for. */
  readonly request: () => Promise<string>;
}

/** docker/docker-credential-helpers `credentials/credentials.go`: the actions, and what clients say to each. */
const commands: Readonly<Record<string, (call: HelperCall) => Promise<string>>> = {
  get,
  store,
  erase: async () => '',
  list,
  version: async () => versionLine,
};

const versionLine = `${program} (docker-registry-proxy) v${version}`;
const flags: Readonly<Record<string, string>> = {
  '--help': usage,
  '-h': usage,
  '--version': versionLine,
  '-v': versionLine,
};

/**
 * @param args of the program
 * @returns what to write on standard output; empty where there is nothing to say
 * @throws HelperError; the signal's reason
 */
export async function answerTo(args: readonly string[], call: HelperCall): Promise<string> {
  const [action = '', ...more] = args;
  if (more.length > 0) throw new HelperError(usage, 2);
  if (Object.hasOwn(flags, action)) return flags[action] ?? '';
  const command = Object.hasOwn(commands, action) ? commands[action] : undefined;
  if (command === undefined) throw new HelperError(usage, 2);
  return command(call);
}

async function get(call: HelperCall): Promise<string> {
  try {
    const server = serverIn(await call.request());
    const credential = await credentialFor(server, call);
    if (credential !== undefined) return printCredential(server, credential);
  } catch (error) {
    // `docker pull` drops what an error says, and goes on as nobody: then the registry's refusal would be all there is.
    if (error instanceof HelperError) call.log.error({}, error.message);
    throw error;
  }
  throw new HelperError(notFoundText);
}

async function credentialFor(server: string, call: HelperCall): Promise<Credential | undefined> {
  const registry = parseAskedServer(server);
  const settings = await settingsOf(call);
  if (settings !== undefined) {
    const { configuredCredential } = await import('./credential-for.js');
    return configuredCredential(settings, registry, call);
  }
  const looked = usualSettingsFiles(call.environment).join(', ');
  call.log.debug({}, `there is no configuration at ${looked}, and ${settingsVariable} names none`);
  if (isPublicRegistry(registry)) {
    call.log.debug(
      {},
      `${registry} is a public registry: it is shown nothing unless a configuration says so`,
    );
    return undefined;
  }
  const { ownCredential } = await import('./own-credential.js');
  return ownCredential(registry, call);
}

/**
 * Clients store what they logged in with, also where `get` gave it to them. To keep nothing is fine then; a password of
 * somebody's own would be lost without a word.
 */
async function store(call: HelperCall): Promise<string> {
  const { server, username } = storedUserIn(await call.request());
  if (isMachineUser(username)) return '';
  const registry = parseAskedServer(server);
  const settings = await settingsOf(call);
  const configured = settings?.registries.find(({ match }) => match.matches(registry));
  const { userNameOf } = await import('./user-names.js');
  if (configured !== undefined && userNameOf(configured) === username) return '';
  throw new HelperError(
    `${program} keeps no passwords: it shows what this machine is. ` +
      `To log in to ${registry} as somebody else, take it out of credHelpers`,
  );
}

async function list(call: HelperCall): Promise<string> {
  const settings = await settingsOf(call);
  const { listedRegistries } = await import('./user-names.js');
  return JSON.stringify(settings === undefined ? {} : listedRegistries(settings));
}

/** @returns undefined where there is no configuration. Without one, the code that reads it is not loaded */
async function settingsOf({ environment }: HelperCall): Promise<HelperSettings | undefined> {
  const file = findSettingsFile(environment);
  if (file === undefined) return undefined;
  const { loadHelperSettings } = await import('./settings.js');
  return loadHelperSettings(file, environment);
}
