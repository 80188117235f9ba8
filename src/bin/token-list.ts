import type { Principal } from '../contracts/index.js';
import type { ListedPersonalToken } from '../sign-in/personal-tokens-administration.js';
import type { ListedRefreshToken } from '../token/refresh-tokens-administration.js';
import { order, time } from './listed.js';
import { printable, textTable } from './text-table.js';

/** A token of either kind. Times are milliseconds since the epoch. */
export interface ListedToken {
  readonly type: 'refresh' | 'personal';
  readonly id: string;
  readonly verifier: string;
  readonly name: string;
  /** Of a refresh token. */
  readonly service?: string;
  /** Of a personal access token. */
  readonly label?: string;
  readonly createdAt: number;
  readonly usedAt?: number;
  readonly expiresAt?: number;
}

export function ofRefreshToken(token: ListedRefreshToken): ListedToken {
  return { type: 'refresh', ...token };
}

export function ofPersonalToken(token: ListedPersonalToken): ListedToken {
  return { type: 'personal', ...token };
}

/** How people call a kind of token. */
export const kindNames = { refresh: 'refresh token', personal: 'personal access token' } as const;

/** By principal, the oldest first. */
export function inOrder(tokens: readonly ListedToken[]): readonly ListedToken[] {
  return [...tokens].sort(
    (a, b) => order(a.verifier, b.verifier) || order(a.name, b.name) || a.createdAt - b.createdAt,
  );
}

export function json(tokens: readonly ListedToken[]): string {
  const rows = tokens.map(({ id, type, verifier, name, service, label, createdAt, usedAt, expiresAt }) => ({
    ...{ id, type, principal: `${verifier}:${name}`, verifier, name },
    ...(service !== undefined && { service }),
    ...(label !== undefined && { label }),
    created: time(createdAt),
    ...(usedAt !== undefined && { lastUsed: time(usedAt) }),
    ...(expiresAt !== undefined && { expires: time(expiresAt) }),
  }));
  return JSON.stringify(rows, undefined, 2);
}

export function table(tokens: readonly ListedToken[]): string {
  const rows = [
    ['ID', 'TYPE', 'PRINCIPAL', 'SERVICE', 'LABEL', 'CREATED', 'LAST USED', 'EXPIRES'],
    ...tokens.map((token) => [
      token.id,
      token.type,
      qualified(token),
      printable(token.service ?? '-'),
      printable(token.label ?? '-'),
      time(token.createdAt),
      token.usedAt === undefined ? 'never' : time(token.usedAt),
      token.expiresAt === undefined ? 'never' : time(token.expiresAt),
    ]),
  ];
  return textTable(rows);
}

export function qualified({ verifier, name }: Pick<Principal, 'verifier' | 'name'>): string {
  return printable(`${verifier}:${name}`);
}
