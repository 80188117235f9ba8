import { createPrivateKey } from 'node:crypto';
import { z } from 'zod';
import { Secret } from '../../secret.js';
import { type ExternalAccount, externalAccount, externalAccountSchema } from './external-account.js';
import { impersonatedAccount } from './impersonated-account.js';

/** A credential file of Google Cloud (google.aip.dev/auth/4110 and the following). */
export type KeyFile = ServiceAccountKey | AuthorizedUser | ExternalAccount | ImpersonatedAccount;

export interface ServiceAccountKey {
  readonly type: 'service_account';
  readonly email: string;
  /** PEM. */
  readonly privateKey: Secret;
  /** The whole file. */
  readonly text: Secret;
}

/** What `gcloud auth application-default login` leaves. */
export interface AuthorizedUser {
  readonly type: 'authorized_user';
  readonly clientId: string;
  readonly clientSecret: Secret;
  readonly refreshToken: Secret;
}

export interface ImpersonatedAccount {
  readonly type: 'impersonated_service_account';
  readonly source: Exclude<KeyFile, ImpersonatedAccount>;
  /** The service account whose token is given. */
  readonly target: string;
  readonly delegates: readonly string[];
}

const text = z.string().min(1);
const universe = { universe_domain: z.literal('googleapis.com').optional() };

const serviceAccount = z.looseObject({ client_email: text, private_key: text, ...universe });
const authorizedUser = z.looseObject({
  ...{ client_id: text, client_secret: text, refresh_token: text },
  ...universe,
});
const impersonated = z.looseObject({
  service_account_impersonation_url: text,
  source_credentials: z.looseObject({ type: text }),
  delegates: z.array(text).optional(),
  ...universe,
});

/** @throws an Error with a one-line message that quotes nothing of the file but names of keys and hosts */
export function parseKeyFile(content: string): KeyFile {
  const json = parseJson(content);
  const { type } = parseAs(z.looseObject({ type: z.string() }), json);
  if (type !== 'impersonated_service_account') return parseOwn(type, json, content);
  const { source_credentials: source, ...rest } = parseAs(impersonated, json);
  return {
    type,
    source: parseOwn(source.type, source, JSON.stringify(source)),
    target: impersonatedAccount(rest.service_account_impersonation_url),
    delegates: rest.delegates ?? [],
  };
}

function parseOwn(type: string, json: unknown, content: string): Exclude<KeyFile, ImpersonatedAccount> {
  switch (type) {
    case 'service_account': {
      const key = parseAs(serviceAccount, json);
      checkPrivateKey(key.private_key);
      const secrets = { privateKey: new Secret(key.private_key), text: new Secret(content.trim()) };
      return { type, email: key.client_email, ...secrets };
    }
    case 'authorized_user': {
      const user = parseAs(authorizedUser, json);
      const secrets = {
        clientSecret: new Secret(user.client_secret),
        refreshToken: new Secret(user.refresh_token),
      };
      return { type, clientId: user.client_id, ...secrets };
    }
    case 'external_account':
      return externalAccount(parseAs(externalAccountSchema, json));
    default:
      throw new Error(
        'its type is none of service_account, authorized_user, external_account, impersonated_service_account',
      );
  }
}

function checkPrivateKey(pem: string): void {
  try {
    createPrivateKey(pem);
  } catch {
    throw new Error('its private_key is not a private key in PEM');
  }
}

/** A parse error of JSON quotes the text. */
function parseJson(content: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    throw new Error('it is not JSON');
  }
}

function parseAs<T>(schema: z.ZodType<T>, json: unknown): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') ?? '';
  if (issue?.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys;
    const name = /^[A-Za-z0-9_]{1,64}$/.test(key) ? [...issue.path, key].join('.') : 'a key';
    throw new Error(`it is not a credential file of Google Cloud as they are known: ${name} is too much`);
  }
  if (where === 'universe_domain')
    throw new Error('its universe_domain is not googleapis.com, the only one known');
  throw new Error(`it is not a credential file of Google Cloud: ${where || 'it'} is missing or wrong`);
}
