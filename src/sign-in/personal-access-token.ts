import type { Secret } from '../secret.js';

/** A personal access token, as its owner sees it. Times are milliseconds since the epoch. */
export interface PersonalAccessToken {
  /** 12 hex digits, as `tokens list` shows it; no token can be made from it. */
  readonly id: string;
  readonly label: string;
  readonly createdAt: number;
  readonly expiresAt: number;
  /** To an hour. Absent: never. */
  readonly usedAt?: number;
}

/** A new token: it can be shown now, and never again. */
export interface IssuedPersonalToken {
  readonly token: Secret;
  readonly details: PersonalAccessToken;
}
