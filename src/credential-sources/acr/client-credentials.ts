import type { CallOptions } from '../../contracts/index.js';
import type { HttpCaller } from '../../outgoing/http-caller.js';
import type { SecretReader } from '../../outgoing/open-secret.js';
import type { Secret } from '../../secret.js';
import { entraRefusal } from './entra-refusal.js';
import { accessTokenIn, type EntraIdentity } from './entra-token.js';

export interface ClientCredentialsSettings {
  readonly http: HttpCaller;
  /** `https://login.microsoftonline.com`, or a sovereign cloud's. */
  readonly authority: URL;
  readonly tenant: string;
  readonly clientId: string;
  /** What the token is for; the scope is this with `/.default`. */
  readonly audience: string;
  readonly proof: ClientProof;
}

/** How an application shows that it is itself; read anew each time, for both change while we run. */
export interface ClientProof {
  /** `assertion`: a token of somebody whom the application trusts, such as a cluster's for its service account. */
  readonly kind: 'secret' | 'assertion';
  readonly read: SecretReader;
}

/** An application of Entra ID (OAuth 2.0 client credentials, RFC 6749 section 4.4; assertions: RFC 7523 section 2.2). */
export class ClientCredentials implements EntraIdentity {
  readonly tenant: string;
  readonly #s: ClientCredentialsSettings;
  readonly #url: URL;

  constructor(settings: ClientCredentialsSettings) {
    this.tenant = settings.tenant;
    this.#s = settings;
    this.#url = new URL(settings.authority);
    const path = settings.authority.pathname.replace(/\/+$/, '');
    this.#url.pathname = `${path}/${encodeURIComponent(settings.tenant)}/oauth2/v2.0/token`;
  }

  async accessToken({ signal }: CallOptions): Promise<Secret> {
    const { http, clientId, audience, proof } = this.#s;
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: clientId,
      scope: `${audience}/.default`,
      ...shown(proof.kind, await proof.read()),
    });
    const answer = await http.call({
      ...{ url: this.#url, method: 'POST', body: form.toString(), signal },
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    const token = accessTokenIn(answer);
    if (token === undefined) throw entraRefusal(this.#url.host, answer);
    return token;
  }

  close(): Promise<void> {
    return this.#s.http.close();
  }
}

function shown(kind: ClientProof['kind'], secret: Secret): Record<string, string> {
  if (kind === 'secret') return { client_secret: secret.reveal() };
  return {
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: secret.reveal(),
  };
}
