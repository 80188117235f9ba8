import type { Secret } from '../../secret.js';

/** An OAuth2 access token of Google's. Times are milliseconds since the epoch. */
export interface AccessToken {
  readonly token: Secret;
  readonly expiresAt?: number;
  readonly refreshAt?: number;
}
