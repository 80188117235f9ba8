import { createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';

export type AcrAction = 'pull' | 'push' | 'delete' | 'metadata_read' | 'metadata_write' | '*';

export interface AcrScope {
  readonly type: 'repository' | 'registry';
  readonly name: string;
  readonly actions: readonly AcrAction[];
}

/** Seconds. */
const accessLifetime = 75 * 60;
/** Seconds that a token's beginning is put back, for clocks that differ. */
const putBack = 15 * 60;

/** The refresh and access tokens of one registry, as JWTs with the claims of Azure/acr `docs/AAD-OAuth.md`. */
export class AcrTokens {
  /** All it gave out, for tests that look where they went. */
  readonly given: { readonly refresh: string[]; readonly access: string[] } = { refresh: [], access: [] };
  /** Seconds. */
  refreshLifetime: number;
  readonly #host: string;
  readonly #key = randomBytes(32);
  #revoked = new Set<string>();

  constructor(host: string, refreshLifetime: number) {
    this.#host = host;
    this.refreshLifetime = refreshLifetime;
  }

  refresh(subject: string, actions: readonly AcrAction[]): string {
    const permissions = { actions, notActions: [] };
    const claims = { sub: subject, grant_type: 'refresh_token', permissions, roles: [] };
    const token = this.#sign(claims, this.refreshLifetime);
    this.given.refresh.push(token);
    return token;
  }

  /** @returns what a refresh token of ours lets do; undefined for any other, and for one that has ended */
  refreshed(token: string): readonly AcrAction[] | undefined {
    const claims = this.#verify(token, 'refresh_token');
    return (claims?.permissions as { actions: AcrAction[] } | undefined)?.actions;
  }

  access(scopes: readonly AcrScope[]): string {
    const token = this.#sign({ grant_type: 'access_token', access: scopes, roles: [] }, accessLifetime);
    this.given.access.push(token);
    return token;
  }

  /** @returns undefined for what is no access token of ours, or has ended */
  granted(token: string): readonly AcrScope[] | undefined {
    return this.#verify(token, 'access_token')?.access as AcrScope[] | undefined;
  }

  /** What was given out until now is refused; as when a token's three hours are over. */
  revoke(kind: 'refresh' | 'access'): void {
    for (const token of this.given[kind]) this.#revoked.add(token);
  }

  #sign(claims: object, lifetime: number): string {
    const now = Math.floor(Date.now() / 1000);
    const times = { iat: now - putBack, nbf: now - putBack, exp: now + lifetime };
    const own = { jti: randomUUID(), iss: 'Azure Container Registry', aud: this.#host, version: '1.0' };
    const text = [
      { alg: 'HS256', typ: 'JWT' },
      { ...own, ...claims, ...times },
    ]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    return `${text}.${this.#signatureOf(text)}`;
  }

  #verify(token: string, kind: string): Readonly<Record<string, unknown>> | undefined {
    const [header = '', payload = '', signature = ''] = token.split('.');
    const [shown, right] = [signature, this.#signatureOf(`${header}.${payload}`)].map((text) =>
      Buffer.from(text),
    );
    if (!shown || !right || shown.length !== right.length || !timingSafeEqual(shown, right)) return undefined;
    if (this.#revoked.has(token)) return undefined;
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Record<string, unknown>;
    const { exp, aud, grant_type } = claims;
    return Number(exp) * 1000 > Date.now() && aud === this.#host && grant_type === kind ? claims : undefined;
  }

  #signatureOf(text: string): string {
    return createHmac('sha256', this.#key).update(text).digest('base64url');
  }
}
