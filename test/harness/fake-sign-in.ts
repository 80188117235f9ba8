import type { SignIn } from '../../src/http/pages/page-context.js';
import { Secret } from '../../src/secret.js';
import type { IssuedPersonalToken, PersonalAccessToken } from '../../src/sign-in/personal-access-token.js';
import type { Session } from '../../src/sign-in/session.js';
import { SignInError } from '../../src/sign-in/sign-in-error.js';

const day = 86_400_000;

/**
 * A sign-in without a provider: its cookies are `session-NAME` and `sealed-TOKEN`, and whoever comes back with
 * `?code=NAME` is NAME. `failure` is what each call then fails with.
 */
export class FakeSignIn implements SignIn {
  readonly lives = { suggested: 30 * day, max: 90 * day };
  readonly sessionLife = 3_600_000;
  readonly attemptLife = 600_000;
  readonly provider: string;
  readonly issued = new Map<string, IssuedPersonalToken & { readonly owner: string }>();
  /** Of the browsers that came back. */
  readonly addresses: string[] = [];
  failure: Error | undefined;
  #count = 0;

  constructor(provider = 'https://sso.test/authorize') {
    this.provider = provider;
  }

  async begin() {
    this.#fail();
    return { location: new URL(`${this.provider}?state=one`), sealed: 'sealed-state' };
  }

  async finish(callback: URL, sealed: string | undefined, { address }: { readonly address: string }) {
    this.addresses.push(address);
    this.#fail();
    const name = callback.searchParams.get('code');
    if (sealed !== 'sealed-state' || name === null) {
      throw new SignInError('expired', 'the sign-in took too long', 'no cookie, or no code');
    }
    const session = this.session(`session-${name}`) as Session;
    const isFirst = (await this.tokens(session)).length === 0;
    const issued = isFirst ? await this.createToken(session, { label: 'First', life: 30 * day }) : undefined;
    return { session, cookie: `session-${name}`, ...(issued && { issued }) };
  }

  session(cookie: string | undefined): Session | undefined {
    const [, name] = /^session-(.+)$/.exec(cookie ?? '') ?? [];
    if (name === undefined) return undefined;
    const who = { verifier: 'sso', name: decodeURIComponent(name) };
    return { who, csrfToken: `csrf-of-${name}`, signedInAt: 0, expiresAt: 0 };
  }

  isCsrfToken(session: Session, token: string): boolean {
    return session.csrfToken === token;
  }

  async createToken(session: Session, { label, life }: { label: string; life: number }) {
    this.#fail();
    if (life > this.lives.max) throw new SignInError('invalid', 'the life is too long', 'too long a life');
    const id = (++this.#count).toString(16).padStart(12, '0');
    const details = { id, label, createdAt: 0, expiresAt: life };
    const issued = { token: new Secret(`drp_pat_${'x'.repeat(30)}${id}0`), details };
    this.issued.set(id, { ...issued, owner: session.csrfToken });
    return issued;
  }

  async tokens(session: Session): Promise<readonly PersonalAccessToken[]> {
    this.#fail();
    const own = [...this.issued.values()].filter(({ owner }) => owner === session.csrfToken);
    return own.map(({ details }) => details);
  }

  async revokeToken(session: Session, id: string): Promise<boolean> {
    this.#fail();
    return this.issued.get(id)?.owner === session.csrfToken && this.issued.delete(id);
  }

  sealIssued({ details }: IssuedPersonalToken): string {
    return `sealed-${details.id}`;
  }

  openIssued(cookie: string | undefined, session: Session): IssuedPersonalToken | undefined {
    const found = this.issued.get(cookie?.replace(/^sealed-/, '') ?? '');
    return found?.owner === session.csrfToken ? found : undefined;
  }

  #fail(): void {
    if (this.failure !== undefined) throw this.failure;
  }
}
