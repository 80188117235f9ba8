import type { Command } from 'commander';
import type { Configuration } from '../config/configuration.js';
import type { CallOptions, Clock, Principal, StateStore } from '../contracts/index.js';
import { PersonalTokensAdministration } from '../sign-in/personal-tokens-administration.js';
import { RefreshTokensAdministration } from '../token/refresh-tokens-administration.js';
import { configOption } from './config-option.js';
import { withState } from './guest-state.js';
import type { Surroundings } from './opener.js';
import { QuestionError } from './question-error.js';
import { requireConfiguration } from './serve.js';
import {
  inOrder,
  json,
  kindNames,
  type ListedToken,
  ofPersonalToken,
  ofRefreshToken,
  qualified,
  table,
} from './token-list.js';

/** What a short id looks like. */
const idGrammar = /^[0-9a-f]{12}$/;
const accessTokensLive = 'Access tokens that were already issued are good until their ttl is over.';
const loginsRemembered =
  'A personal access token that was just used is taken until rememberLogins.accepted is over.';

type Named = Pick<Principal, 'verifier' | 'name'>;

/** Lists and ends tokens of one kind. */
interface Administration {
  readonly type: ListedToken['type'];
  list(
    o: CallOptions,
  ): Promise<{ readonly tokens: readonly ListedToken[]; readonly unreadable: readonly string[] }>;
  /** @returns how many */
  revokePrincipal(who: Named, o: CallOptions): Promise<number>;
  revokeById(id: string, o: CallOptions): Promise<readonly ListedToken[]>;
}

/** Adds `tokens list` and `tokens revoke`, which work beside a running proxy and without one. */
export function addTokensCommands(tokens: Command, surroundings: () => Surroundings): void {
  tokens.description(
    'list and revoke refresh tokens and personal access tokens, while the proxy runs or not',
  );
  tokens
    .command('list')
    .description('list the refresh tokens and personal access tokens that are good')
    .requiredOption(...configOption)
    .option('--principal <name>', "only this principal's, with its verifier's id: corp:alice")
    .option('--json', 'a JSON array instead of a table', false)
    .addHelpText(
      'after',
      '\nExamples:\n  docker-registry-proxy tokens list --config config.yaml --principal corp:alice' +
        "\n  docker-registry-proxy tokens list --config config.yaml --json | jq '.[].principal'",
    )
    .action(async (options: { config: string; principal?: string; json: boolean }) => {
      const configuration = await requireConfiguration(options.config);
      const who = options.principal === undefined ? undefined : principalOf(configuration, options.principal);
      await administer(configuration, surroundings(), async (administrations, o) => {
        const lists = await Promise.all(administrations.map((administration) => administration.list(o)));
        for (const id of lists.flatMap(({ unreadable }) => unreadable))
          process.stderr.write(`${id}: its record cannot be read: good for nothing\n`);
        const all = inOrder(lists.flatMap(({ tokens }) => tokens));
        const shown = all.filter((token) => who === undefined || isOf(token, who));
        process.stdout.write(options.json ? `${json(shown)}\n` : table(shown));
      });
    });
  tokens
    .command('revoke')
    .description('end the refresh tokens and personal access tokens of a principal, or one of them')
    .requiredOption(...configOption)
    .option('--principal <name>', "all of this principal's, with its verifier's id: corp:alice")
    .option('--id <id>', 'the one with this ID of `tokens list`')
    .addHelpText(
      'after',
      '\nExamples:\n  docker-registry-proxy tokens revoke --config config.yaml --principal corp:alice' +
        '\n  docker-registry-proxy tokens revoke --config config.yaml --id 0123456789ab',
    )
    .action(async (options: { config: string; principal?: string; id?: string }) => {
      const configuration = await requireConfiguration(options.config);
      const revoke = revocationOf(configuration, options);
      await administer(configuration, surroundings(), async (administrations, o) => {
        const lines = [await revoke(administrations, o), accessTokensLive];
        if (configuration.signIn !== undefined) lines.push(loginsRemembered);
        process.stdout.write(`${lines.join('\n')}\n`);
      });
    });
}

/** @throws QuestionError, OpeningError; RegistryError UNAVAILABLE where the state cannot be read or written */
async function administer(
  configuration: Configuration,
  surroundings: Surroundings,
  step: (administrations: readonly Administration[], o: CallOptions) => Promise<void>,
): Promise<void> {
  if (configuration.token.refreshTokens === undefined && configuration.signIn === undefined) {
    throw new QuestionError(
      `${configuration.file}: token.refreshTokens is off, and there is no signIn: no refresh token and no personal access token is issued, and none is taken`,
    );
  }
  await withState(configuration, surroundings, (state, o) =>
    step(administrationsOf(configuration, state, surroundings.clock), o),
  );
}

/** Of the kinds that are on. */
function administrationsOf(
  { token, signIn }: Configuration,
  state: StateStore,
  clock: Clock,
): readonly Administration[] {
  const refresh = token.refreshTokens && new RefreshTokensAdministration(state, clock, token.refreshTokens);
  const lives = signIn && { session: signIn.session, maxLife: signIn.tokens.maxLife };
  const personal = lives && new PersonalTokensAdministration(state, clock, lives);
  return [
    ...(refresh ? [administrationOf('refresh', refresh, ofRefreshToken)] : []),
    ...(personal ? [administrationOf('personal', personal, ofPersonalToken)] : []),
  ];
}

function administrationOf<T>(
  type: ListedToken['type'],
  inner: {
    list(o: CallOptions): Promise<{ readonly tokens: readonly T[]; readonly unreadable: readonly string[] }>;
    revokePrincipal(who: Named, o: CallOptions): Promise<number>;
    revokeById(id: string, o: CallOptions): Promise<readonly T[]>;
  },
  shown: (token: T) => ListedToken,
): Administration {
  return {
    type,
    async list(o) {
      const { tokens, unreadable } = await inner.list(o);
      return { tokens: tokens.map(shown), unreadable };
    },
    revokePrincipal: (who, o) => inner.revokePrincipal(who, o),
    revokeById: async (id, o) => (await inner.revokeById(id, o)).map(shown),
  };
}

/**
 * @returns what does it, and says in a line what it did
 * @throws QuestionError
 */
function revocationOf(
  configuration: Configuration,
  { principal, id }: { readonly principal?: string; readonly id?: string },
): (administrations: readonly Administration[], o: CallOptions) => Promise<string> {
  if (principal !== undefined && id === undefined) {
    const who = principalOf(configuration, principal);
    return (administrations, o) => revokePrincipal(administrations, who, o);
  }
  if (id !== undefined && principal === undefined) {
    if (!idGrammar.test(id)) throw new QuestionError('--id: expected the 12 characters `tokens list` shows');
    return (administrations, o) => revokeById(administrations, id, o);
  }
  throw new QuestionError('expected one of --principal and --id');
}

async function revokePrincipal(
  administrations: readonly Administration[],
  who: Named,
  o: CallOptions,
): Promise<string> {
  const ended: string[] = [];
  for (const administration of administrations) {
    const count = await administration.revokePrincipal(who, o);
    if (count > 0) ended.push(`${count} ${kindNames[administration.type]}${count === 1 ? '' : 's'}`);
  }
  if (ended.length > 0) return `${ended.join(' and ')} of ${qualified(who)} revoked.`;
  const kinds = administrations.map(({ type }) => kindNames[type]).join(' and no ');
  return `${qualified(who)} has no ${kinds}: none was revoked.`;
}

/** @throws QuestionError */
async function revokeById(
  administrations: readonly Administration[],
  id: string,
  o: CallOptions,
): Promise<string> {
  for (const administration of administrations) {
    const [ended] = await administration.revokeById(id, o);
    if (ended !== undefined) return `The ${kindNames[ended.type]} ${id} of ${qualified(ended)} was revoked.`;
  }
  const kinds = administrations.map(({ type }) => kindNames[type]).join(' and no ');
  throw new QuestionError(`--id: no ${kinds} has the ID ${id}`);
}

/** @throws QuestionError */
function principalOf({ verifiers }: Configuration, text: string): Named {
  const ids = verifiers.map(({ id }) => id);
  const colon = text.indexOf(':');
  const verifier = text.slice(0, Math.max(colon, 0));
  if (!ids.includes(verifier) || colon === text.length - 1) {
    throw new QuestionError(
      `--principal: expected VERIFIER:NAME with one of the verifiers ${ids.join(', ')}`,
    );
  }
  return { verifier, name: text.slice(colon + 1) };
}

function isOf(token: Named, { verifier, name }: Named): boolean {
  return token.verifier === verifier && token.name === name;
}
