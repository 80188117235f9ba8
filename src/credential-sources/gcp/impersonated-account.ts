import { checkGoogleUrl } from './key-file-urls.js';

/** Google has no such URL without `projects/-`: the account's name says its project. */
const impersonation =
  /^\/v1\/projects\/-\/serviceAccounts\/([A-Za-z0-9._-]+@[a-z0-9.-]+):generateAccessToken$/;

/**
 * @returns the account whose token a `service_account_impersonation_url` gives
 * @throws an Error with a one-line message
 */
export function impersonatedAccount(url: string): string {
  const key = 'service_account_impersonation_url';
  const [, account] = impersonation.exec(checkGoogleUrl(key, url, 'iamcredentials').pathname) ?? [];
  if (account === undefined) throw new Error(`its ${key} does not end in NAME:generateAccessToken`);
  return account;
}
