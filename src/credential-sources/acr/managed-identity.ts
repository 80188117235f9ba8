import type { CallOptions } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import type { HttpAnswer, HttpCaller } from '../../outgoing/http-caller.js';
import { azureMetadata, type Environment, urlIn } from '../../outgoing/metadata/metadata-servers.js';
import { parseJsonObject } from '../../protocol/json-object.js';
import { Secret } from '../../secret.js';
import { errorNumber, errorWord } from './entra-refusal.js';
import { accessTokenIn, type EntraIdentity, refused } from './entra-token.js';

/** Where a machine or an app asks for the tokens of the identity that Azure gave it. */
export interface IdentityEndpoint {
  /** With its `api-version`. */
  readonly url: URL;
  readonly header: { readonly name: string; readonly value: Secret };
}

/** For messages: what there is in place of a managed identity. */
const elsewhere = 'use clientSecret, or tokenFile';

/**
 * As the SDKs of Azure find it: App Service, Functions and Container Apps say where by IDENTITY_ENDPOINT and
 * IDENTITY_HEADER; a virtual machine has the instance metadata service.
 *
 * @param advice what to do where it cannot be asked
 * @throws an Error with a one-line message for what we cannot ask
 */
export function identityEndpoint(environment: Environment, advice = elsewhere): IdentityEndpoint {
  const { IDENTITY_ENDPOINT: app, IDENTITY_HEADER: header } = environment;
  if (app && header && !environment.IDENTITY_SERVER_THUMBPRINT) {
    const url = urlIn(app, 'IDENTITY_ENDPOINT');
    url.searchParams.set('api-version', '2019-08-01');
    return { url, header: { name: 'x-identity-header', value: new Secret(header) } };
  }
  if (app) {
    const where = header ? 'Service Fabric' : 'Azure Arc';
    throw new Error(`the identity of ${where} is not supported: ${advice}`);
  }
  const url = new URL('/metadata/identity/oauth2/token?api-version=2018-02-01', azureMetadata(environment));
  return { url, header: { name: 'metadata', value: new Secret('true') } };
}

export interface ManagedIdentitySettings {
  /** Without a proxy: it is this machine's own. */
  readonly http: HttpCaller;
  readonly endpoint: IdentityEndpoint;
  /** What the token is for. */
  readonly audience: string;
  /** Of a user-assigned identity. */
  readonly clientId?: string;
  /** For messages: what to do where this does not run in Azure. */
  readonly elsewhere?: string;
}

/** The identity that Azure gave this machine or app. */
export class ManagedIdentity implements EntraIdentity {
  readonly #s: ManagedIdentitySettings;
  readonly #url: URL;

  constructor(settings: ManagedIdentitySettings) {
    this.#s = settings;
    this.#url = new URL(settings.endpoint.url);
    this.#url.searchParams.set('resource', settings.audience);
    if (settings.clientId !== undefined) this.#url.searchParams.set('client_id', settings.clientId);
  }

  async accessToken({ signal }: CallOptions): Promise<Secret> {
    const answer = await this.#ask(signal);
    const token = accessTokenIn(answer);
    if (token !== undefined) return token;
    const body = parseJsonObject(answer.text);
    const number = errorNumber(body);
    const codes = [errorWord(body), number && `AADSTS${number}`];
    throw refused(`the identity endpoint ${this.#url.host}`, answer, codes, this.#advice(answer, body));
  }

  close(): Promise<void> {
    return this.#s.http.close();
  }

  async #ask(signal: AbortSignal): Promise<HttpAnswer> {
    const { http, endpoint } = this.#s;
    try {
      const { name, value } = endpoint.header;
      return await http.call({ url: this.#url, headers: { [name]: value.reveal() }, signal });
    } catch (error) {
      signal.throwIfAborted();
      const reason =
        `no answer from the identity endpoint ${this.#url.host}: does this run in Azure? ` +
        (this.#s.elsewhere ?? 'Elsewhere name tenant, clientId and clientSecret, or tokenFile');
      throw new RegistryError('UNAVAILABLE', { reason, cause: error });
    }
  }

  /** "How to use managed identities on a virtual machine", error handling; App Service answers alike. */
  #advice({ status }: HttpAnswer, body: Readonly<Record<string, unknown>> | undefined): string {
    if (status === 200) return 'that is no access token: does this run in Azure?';
    if (status === 429) return 'it slows us down';
    if (status === 404 || status === 410)
      return 'it is being updated, or it is none; it comes back within 70 seconds';
    if (status >= 500) return 'it is in trouble';
    if (status >= 300 && status < 400) return 'it redirects, which is not followed';
    const description = typeof body?.error_description === 'string' ? body.error_description : '';
    if (/multiple user.assigned/i.test(description))
      return 'there are several identities: say which by `clientId`';
    if (errorNumber(body) === '500011' || errorWord(body) === 'invalid_resource') return 'look at `audience`';
    return this.#s.clientId === undefined
      ? 'no managed identity is assigned: assign one, or name a user-assigned one by `clientId`'
      : 'the identity that `clientId` names is not assigned here';
  }
}
