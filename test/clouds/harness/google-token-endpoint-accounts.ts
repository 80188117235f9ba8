import { generateKeyPairSync, randomBytes } from 'node:crypto';

/** A service account as its owner sees it. */
export interface ServiceAccount {
  readonly email: string;
  /** PEM. */
  readonly publicKey: string;
  /** The text of its key file, as `gcloud iam service-accounts keys create` writes it. */
  readonly keyFile: string;
}

/** The accounts of a Google Cloud, and the access tokens they were given. */
export interface GoogleAccounts {
  readonly serviceAccounts: ReadonlyMap<string, ServiceAccount>;
  /** Makes an account, or a new key for one: its old key is deleted. */
  createServiceAccount(name: string): ServiceAccount;
  /** Every token that was given out, in order. */
  readonly given: readonly string[];
  /** Seconds: the life of tokens from now on; 3599 at first. */
  tokenLife: number;
  giveToken(account: string): { readonly token: string; readonly expiresAt: number };
  /** @returns the account, while the token lives */
  accountOf(token: string): string | undefined;
  /** No token that was given out until now is good any more. */
  revokeTokens(): void;
  /** @returns the account whose key this is, as the text of its key file */
  ownerOfKey(keyFile: string): string | undefined;
}

export function googleAccounts(): GoogleAccounts {
  const serviceAccounts = new Map<string, ServiceAccount>();
  const tokens = new Map<string, { account: string; expiresAt: number }>();
  const given: string[] = [];
  let made = 0;
  const accounts: GoogleAccounts = {
    serviceAccounts,
    given,
    tokenLife: 3599,
    createServiceAccount: (name) => {
      const account = makeServiceAccount(name, keyPair(made++));
      serviceAccounts.set(account.email, account);
      return account;
    },
    giveToken: (account) => {
      const token = `ya29.c.${randomBytes(96).toString('base64url')}`;
      const expiresAt = Date.now() + accounts.tokenLife * 1000;
      tokens.set(token, { account, expiresAt });
      given.push(token);
      return { token, expiresAt };
    },
    accountOf: (token) => {
      const found = tokens.get(token);
      return found !== undefined && found.expiresAt > Date.now() ? found.account : undefined;
    },
    revokeTokens: () => tokens.clear(),
    ownerOfKey: (keyFile) => {
      const known = [...serviceAccounts.values()].find((one) => sameJson(one.keyFile, keyFile));
      return known?.email;
    },
  };
  return accounts;
}

const project = 'acme';

interface KeyPair {
  readonly publicKey: string;
  readonly privateKey: string;
}

/** Made once for all clouds of a process: each takes some hundred milliseconds. */
const keyPairs: KeyPair[] = [];

function keyPair(index: number): KeyPair {
  const pair =
    keyPairs[index] ??
    generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
  keyPairs[index] = pair;
  return pair;
}

function makeServiceAccount(name: string, { publicKey, privateKey }: KeyPair): ServiceAccount {
  const email = `${name}@${project}.iam.gserviceaccount.com`;
  const keyFile = {
    ...{ type: 'service_account', project_id: project, private_key_id: randomBytes(20).toString('hex') },
    ...{ private_key: privateKey, client_email: email, client_id: '100000000000000000001' },
    auth_uri: 'https://accounts.google.com/o/oauth2/auth',
    token_uri: 'https://oauth2.googleapis.com/token',
    universe_domain: 'googleapis.com',
  };
  return { email, publicKey, keyFile: `${JSON.stringify(keyFile, undefined, 2)}\n` };
}

function sameJson(one: string, other: string): boolean {
  try {
    return JSON.stringify(JSON.parse(one)) === JSON.stringify(JSON.parse(other));
  } catch {
    return false;
  }
}
