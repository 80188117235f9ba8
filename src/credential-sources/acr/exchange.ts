import type { CallOptions, Credential } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import type { HttpAnswer, HttpCaller } from '../../outgoing/http-caller.js';
import { parseJsonObject } from '../../protocol/json-object.js';
import { unverifiedClaims } from '../../protocol/jwt-form.js';
import type { RegistryHost } from '../../reference/registry-host.js';
import { Secret } from '../../secret.js';
import { refused } from './entra-token.js';

export interface ExchangeRequest extends CallOptions {
  readonly registry: RegistryHost;
  readonly accessToken: Secret;
  readonly tenant?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Milliseconds, for a refresh token that does not tell its end. They live three hours. */
const usualRefresh = 30 * 60_000;

/**
 * Gives a registry an access token of Entra ID for a refresh token of its own (Azure/acr `docs/AAD-OAuth.md`, "Calling
 * POST /oauth2/exchange"), which its `/oauth2/token` takes as docker's identity token.
 *
 * @throws RegistryError UNAVAILABLE
 */
export async function exchangeToken(http: HttpCaller, request: ExchangeRequest): Promise<Credential> {
  const { registry, accessToken, tenant, now, signal } = request;
  const form = new URLSearchParams({
    grant_type: 'access_token',
    service: registry,
    ...(tenant !== undefined && { tenant }),
    access_token: accessToken.reveal(),
  });
  const answer = await http.call({
    ...{ url: new URL(`https://${registry}/oauth2/exchange`), method: 'POST', body: form.toString(), signal },
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
  const token = answer.status === 200 ? parseJsonObject(answer.text)?.refresh_token : undefined;
  if (typeof token !== 'string' || token === '') throw refusal(registry, answer);
  return { kind: 'identity-token', token: new Secret(token), ...lifeOf(token, registry, now) };
}

function lifeOf(
  token: string,
  registry: RegistryHost,
  now: number,
): { expiresAt: number } | { refreshAt: number } {
  const end = Number(unverifiedClaims(token)?.exp);
  if (!Number.isFinite(end)) return { refreshAt: now + usualRefresh };
  if (end * 1000 > now) return { expiresAt: end * 1000 };
  const reason = `${registry} gave a refresh token that has ended already: is this machine's clock right?`;
  throw new RegistryError('UNAVAILABLE', { reason });
}

function refusal(registry: RegistryHost, answer: HttpAnswer): RegistryError {
  const errors = parseJsonObject(answer.text)?.errors;
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  const { code, message } = (typeof first === 'object' && first !== null ? first : {}) as Record<
    string,
    unknown
  >;
  const shown = typeof code === 'string' && /^[A-Z_]{1,40}$/.test(code) ? code : undefined;
  return refused(registry, answer, [shown], advice(answer.status, String(message)));
}

function advice(status: number, message: string): string {
  if (status === 200) return 'that is no refresh token: is it a registry of Azure?';
  // Told where a registry takes no tokens for Azure Resource Manager (`azureADAuthenticationAsArmPolicy`).
  if (/token validation failed/i.test(message))
    return 'it refuses the token itself: look at `audience` and `tenant`';
  if (status === 401) {
    return (
      'it does not take this identity. Give it AcrPull on the registry (Container Registry Repository Reader where that ' +
      'has ABAC), in the same tenant; a new role may take minutes'
    );
  }
  if (status === 403) return "it does not let this address in: look at the registry's network rules";
  if (status === 404) return 'it has no /oauth2/exchange: is it a registry of Azure?';
  if (status === 429) return 'it slows us down';
  if (status >= 500) return 'it is in trouble';
  return 'it refuses our request: is it a registry of Azure?';
}
