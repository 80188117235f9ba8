import type { Command } from 'commander';
import type { Configuration } from '../config/configuration.js';
import type { CallOptions, Principal } from '../contracts/index.js';
import {
  type ListedRefreshToken,
  RefreshTokensAdministration,
} from '../token/refresh-tokens-administration.js';
import { QuestionError } from './explain.js';
import { Opener, type Surroundings } from './open-parts.js';
import { requireConfiguration } from './serve.js';

const configOption = ['--config <file>', 'the configuration (YAML)'] as const;
/** Milliseconds for the whole command: reading many thousand files takes its time. */
const patience = 120_000;
/** What a short id looks like. */
const idGrammar = /^[0-9a-f]{12}$/;
const accessTokensLive = 'Access tokens that were already issued are good until their ttl is over.';

type Named = Pick<Principal, 'verifier' | 'name'>;

/** Adds `tokens list` and `tokens revoke`, which work beside a running proxy and without one. */
export function addTokensCommands(tokens: Command, surroundings: () => Surroundings): void {
  tokens.description('list and revoke refresh tokens, while the proxy runs or not');
  tokens
    .command('list')
    .description('list the refresh tokens that are good')
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
      await administer(configuration, surroundings(), async (administration, o) => {
        const { tokens, unreadable } = await administration.list(o);
        for (const id of unreadable)
          process.stderr.write(`${id}: its record cannot be read: good for nothing\n`);
        const shown = tokens.filter((token) => who === undefined || isOf(token, who));
        process.stdout.write(options.json ? `${json(shown)}\n` : table(shown));
      });
    });
  tokens
    .command('revoke')
    .description('end the refresh tokens of a principal, or one of them')
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
      await administer(configuration, surroundings(), async (administration, o) => {
        process.stdout.write(`${await revoke(administration, o)}\n${accessTokensLive}\n`);
      });
    });
}

/** @throws QuestionError, OpeningError; RegistryError UNAVAILABLE where the state cannot be read or written */
async function administer(
  configuration: Configuration,
  surroundings: Surroundings,
  step: (administration: RefreshTokensAdministration, o: CallOptions) => Promise<void>,
): Promise<void> {
  const limits = configuration.token.refreshTokens;
  if (limits === undefined) {
    throw new QuestionError(
      `${configuration.file}: token.refreshTokens is off: no refresh token is issued, and none is taken`,
    );
  }
  const opener = new Opener(configuration, surroundings);
  try {
    const { part: state } = await opener.open('state', 'state', configuration.state, { access: 'guest' });
    const administration = new RefreshTokensAdministration(state, surroundings.clock, limits);
    await step(administration, { signal: AbortSignal.timeout(patience) });
  } finally {
    await opener.close();
  }
}

/**
 * @returns what does it, and says in a line what it did
 * @throws QuestionError
 */
function revocationOf(
  configuration: Configuration,
  { principal, id }: { readonly principal?: string; readonly id?: string },
): (administration: RefreshTokensAdministration, o: CallOptions) => Promise<string> {
  if (principal !== undefined && id === undefined) {
    const who = principalOf(configuration, principal);
    return async (administration, o) => {
      const ended = await administration.revokePrincipal(who, o);
      if (ended === 0) return `${principal} has no refresh token: none was revoked.`;
      return `${ended} refresh ${ended === 1 ? 'token' : 'tokens'} of ${principal} revoked.`;
    };
  }
  if (id !== undefined && principal === undefined) {
    if (!idGrammar.test(id)) throw new QuestionError('--id: expected the 12 characters `tokens list` shows');
    return async (administration, o) => {
      const [ended] = await administration.revokeById(id, o);
      if (ended === undefined) throw new QuestionError(`--id: no refresh token has the ID ${id}`);
      return `The refresh token ${id} of ${qualified(ended)} was revoked.`;
    };
  }
  throw new QuestionError('expected one of --principal and --id');
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

function isOf(token: ListedRefreshToken, { verifier, name }: Named): boolean {
  return token.verifier === verifier && token.name === name;
}

function qualified({ verifier, name }: Named): string {
  return printable(`${verifier}:${name}`);
}

function json(tokens: readonly ListedRefreshToken[]): string {
  const rows = tokens.map(({ id, verifier, name, service, createdAt, usedAt, expiresAt }) => ({
    ...{ id, principal: `${verifier}:${name}`, verifier, name, service },
    created: time(createdAt),
    lastUsed: time(usedAt),
    ...(expiresAt !== undefined && { expires: time(expiresAt) }),
  }));
  return JSON.stringify(rows, undefined, 2);
}

function table(tokens: readonly ListedRefreshToken[]): string {
  const rows = [
    ['ID', 'PRINCIPAL', 'SERVICE', 'CREATED', 'LAST USED', 'EXPIRES'],
    ...tokens.map((token) => [
      token.id,
      qualified(token),
      printable(token.service),
      time(token.createdAt),
      time(token.usedAt),
      token.expiresAt === undefined ? 'never' : time(token.expiresAt),
    ]),
  ];
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** ISO 8601, without the milliseconds that mean nothing here. */
function time(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d{3}Z$/, 'Z');
}

/** Names come from directories that others keep: no escape sequence of theirs reaches a terminal. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\uFFFD');
}
