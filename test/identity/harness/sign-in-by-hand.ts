import { createHash, randomBytes } from 'node:crypto';
import { request } from 'undici';

/** What a token endpoint answers. */
export interface Tokens {
  readonly id_token: string;
  readonly access_token: string;
  readonly refresh_token?: string;
  readonly expires_in: number;
}

interface SignIn {
  readonly issuer: string;
  readonly client: {
    readonly client_id: string;
    readonly client_secret?: string | undefined;
    readonly redirect_uris?: readonly string[] | undefined;
  };
  readonly login: string;
  readonly password: string;
  readonly scope: string;
  readonly resource?: string;
}

/** Goes through the authorization-code flow with PKCE, without a browser. The redirect URI is never asked. */
export async function signInByHand(signIn: SignIn): Promise<Tokens> {
  const { issuer, client, scope, resource } = signIn;
  const redirectUri = client.redirect_uris?.[0] ?? '';
  const verifier = randomBytes(32).toString('base64url');
  const start = new URL(`${issuer}/auth`);
  const parameters = {
    ...{ client_id: client.client_id, redirect_uri: redirectUri, response_type: 'code', scope },
    ...{ state: randomBytes(8).toString('hex'), nonce: randomBytes(8).toString('hex') },
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...(scope.includes('offline_access') && { prompt: 'consent' }),
    ...(resource !== undefined && { resource }),
  };
  for (const [name, value] of Object.entries(parameters)) start.searchParams.set(name, value);
  const back = await new Browser().signIn(start, redirectUri, signIn);
  const code = back.searchParams.get('code');
  if (code === null) throw new Error(`no code: ${back.search}`);
  return redeem(signIn, {
    ...{ grant_type: 'authorization_code', code, redirect_uri: redirectUri, code_verifier: verifier },
    ...(resource !== undefined && { resource }),
  });
}

/** Asks the token endpoint. */
export async function redeem(
  { issuer, client }: Pick<SignIn, 'issuer' | 'client'>,
  form: Readonly<Record<string, string>>,
): Promise<Tokens> {
  const { client_id: id, client_secret: secret } = client;
  const basic = `${encodeURIComponent(id)}:${encodeURIComponent(secret ?? '')}`;
  const body = new URLSearchParams({ ...form, ...(secret === undefined && { client_id: id }) });
  const answer = await request(`${issuer}/token`, {
    method: 'POST',
    reset: true,
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...(secret !== undefined && { authorization: `Basic ${Buffer.from(basic).toString('base64')}` }),
    },
    body: body.toString(),
  });
  const text = await answer.body.text();
  if (answer.statusCode !== 200) throw new Error(`the token endpoint answered ${answer.statusCode}: ${text}`);
  return JSON.parse(text) as Tokens;
}

/** Follows redirects, keeps cookies, fills in the login page. */
export class Browser {
  readonly #cookies = new Map<string, string>();

  /** @returns the URL at the redirect URI that it was sent to */
  async signIn(
    start: URL,
    redirectUri: string,
    { login, password }: Pick<SignIn, 'login' | 'password'>,
  ): Promise<URL> {
    let url = start;
    let form: string | undefined;
    for (let steps = 0; steps < 12; steps++) {
      const { status, location, text } = await this.#go(url, form);
      form = undefined;
      if (location !== undefined) {
        url = new URL(location, url);
        if (url.href.startsWith(redirectUri)) return url;
      } else if (status === 200 && text.includes('name="password"')) {
        form = new URLSearchParams({ login, password }).toString();
      } else {
        throw new Error(`${url.pathname} answered ${status}: ${text.slice(0, 300)}`);
      }
    }
    throw new Error('too many redirects');
  }

  async #go(url: URL, form: string | undefined) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await request(url, {
      method: form === undefined ? 'GET' : 'POST',
      reset: true, // a kept connection would end with a provider that is stopped
      headers: {
        ...(cookie !== '' && { cookie }),
        ...(form !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }),
      },
      body: form ?? null,
    });
    const text = await answer.body.text();
    for (const line of [answer.headers['set-cookie'] ?? []].flat()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (value === '') this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
    const { location } = answer.headers;
    return { status: answer.statusCode, location: typeof location === 'string' ? location : undefined, text };
  }
}
