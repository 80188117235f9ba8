import type { RegistryError } from '../../errors.js';
import type { HttpAnswer } from '../../outgoing/http-caller.js';
import { parseJsonObject } from '../../protocol/json-object.js';
import { refused } from './entra-token.js';

const federation =
  "the application's federated credentials name another issuer, subject or audience than the token in tokenFile has";

/** By the number of Entra ID's error (Microsoft identity platform, "AADSTS error codes"). */
const advices: Readonly<Record<string, string>> = {
  50013:
    'the token in tokenFile is refused: its signature, or its issuer is not the one of the federated credential',
  53003: "the tenant's conditional access does not let this identity in from here",
  70021: federation,
  90002: 'there is no such tenant: look at `tenant`, and at `authority` in a sovereign cloud',
  500011: 'the tenant does not know the registry service: look at `audience`',
  700016: 'there is no such application in this tenant: look at `clientId` and `tenant`',
  700024: 'the token in tokenFile has expired: does anybody renew it?',
  700211: federation,
  700212: federation,
  700213: federation,
  900023: 'there is no such tenant: look at `tenant`',
  7000112: 'the application is disabled in this tenant',
  7000215: 'clientSecret is wrong: it must be the value of the secret, not its ID',
  7000218: 'the application must show a secret or a federated token: look at the kind of identity',
  7000222: 'clientSecret has expired: make a new one for the application',
};

/** What an answer of Entra ID's token endpoint means that is no token (RFC 6749 section 5.2, with `error_codes`). */
export function entraRefusal(host: string, answer: HttpAnswer): RegistryError {
  const body = parseJsonObject(answer.text);
  const number = errorNumber(body);
  const advice =
    (number !== undefined && Object.hasOwn(advices, number) && advices[number]) || byStatus(answer.status);
  return refused(host, answer, [errorWord(body), number && `AADSTS${number}`], advice);
}

/** The number of an `AADSTS…` code: its text changes, it does not. */
export function errorNumber(body: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const first: unknown = Array.isArray(body?.error_codes) ? body.error_codes[0] : undefined;
  if (/^\d{2,10}$/.test(String(first))) return String(first);
  const description = typeof body?.error_description === 'string' ? body.error_description : '';
  return /\bAADSTS(\d{2,10})\b/.exec(description)?.[1];
}

/** `invalid_client` and its like. */
export function errorWord(body: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const word = body?.error;
  return typeof word === 'string' && /^[a-z_]{1,64}$/i.test(word) ? word : undefined;
}

function byStatus(status: number): string {
  if (status === 200) return 'that is no access token: is `authority` right?';
  if (status === 429) return 'it slows us down';
  if (status >= 500) return 'it is in trouble';
  if (status >= 300 && status < 400) return 'it redirects, which is not followed: is `authority` right?';
  return 'it refuses this identity: look at `tenant`, `clientId` and its secret or federated credential';
}
