import type { CallOptions } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import type { Session } from '../../sign-in/session.js';
import { SignInError } from '../../sign-in/sign-in-error.js';
import { accountPage } from './account-page.js';
import type { PageCookie } from './cookies.js';
import { landingPage } from './landing-page.js';
import { lifeChoices } from './lives.js';
import { type OwnForm, readOwnForm } from './own-form.js';
import { document, documentWithForms, type PageAnswer, redirect } from './page-answer.js';
import type { PageContext, SignIn } from './page-context.js';

/** Milliseconds until what waits to be shown is forgotten: it is asked for at once. */
const shownOnceLife = 300_000;

/** What was done, as the next page tells. */
const notices = {
  'token-revoked': 'The token is revoked',
  'token-gone': 'That token was gone already',
  'signed-out': 'You have signed out',
} as const;

/** The pages of people who sign in, and what their forms do. */
export class SignInPages {
  readonly #signIn: SignIn;
  readonly #context: PageContext;
  readonly #o: CallOptions;

  constructor(signIn: SignIn, context: PageContext) {
    this.#signIn = signIn;
    this.#context = context;
    this.#o = { signal: context.exchange.signal };
  }

  /** `/`: one's tokens, or how to get one. */
  async start(): Promise<PageAnswer> {
    const session = this.#session();
    if (session === undefined) return this.#landing(this.#notice());
    try {
      return await this.#account(session);
    } catch (error) {
      if (!(error instanceof SignInError) || error.kind !== 'expired') throw error;
      return this.#landing('Your session has ended', ['session']);
    }
  }

  /** The cookie has to be that of the host which the provider sends the browser back to. */
  async begin(): Promise<PageAnswer> {
    const { origin, isAtHome, cookies } = this.#context;
    if (!isAtHome) return redirect(302, `${origin}/sign-in`);
    const { location, sealed } = await this.#signIn.begin(this.#o);
    return redirect(302, location.href, [cookies.set('sign-in', sealed, this.#signIn.attemptLife)]);
  }

  async finish(): Promise<PageAnswer> {
    const { exchange, origin, cookies, record } = this.#context;
    // Reloaded: that sign-in is over, and has brought the session.
    if (cookies.read('sign-in') === undefined && this.#session() !== undefined) return redirect(303, '/');
    const query = exchange.request.url?.split('?').slice(1).join('?') ?? '';
    const callback = new URL(`${origin}/sign-in/callback?${query}`);
    const o = { ...this.#o, address: exchange.connection.address };
    const { session, cookie, issued } = await this.#signIn.finish(callback, cookies.read('sign-in'), o);
    this.#note(session);
    record.hasSignedIn = true;
    const set = [cookies.clear('sign-in'), cookies.set('session', cookie, this.#signIn.sessionLife)];
    if (issued === undefined) return redirect(303, '/', [...set, cookies.clear('new-token')]);
    record.token = issued.details.id;
    const sealed = this.#signIn.sealIssued(issued, session);
    return redirect(303, '/', [...set, cookies.set('new-token', sealed, shownOnceLife)]);
  }

  async signOut(): Promise<PageAnswer> {
    const { cookies } = this.#context;
    const { session, form } = await this.#readForm();
    // Signed in no more is what was wanted.
    if (session !== undefined) this.#requireCsrfToken(session, form);
    const gone = (['session', 'new-token', 'sign-in'] as const).map((cookie) => cookies.clear(cookie));
    return redirect(303, '/', [...gone, this.#setNotice('signed-out')]);
  }

  async createToken(): Promise<PageAnswer> {
    const { cookies, record } = this.#context;
    const { session, form } = await this.#readOwnersForm();
    const life = Number(/^\d{1,15}$/.exec(form.get('life') ?? '')?.[0] ?? Number.NaN);
    if (Number.isNaN(life)) throw new RegistryError('UNSUPPORTED', { status: 400, message: 'choose a life' });
    const label = (form.get('label') ?? '').trim();
    const issued = await this.#signIn.createToken(session, { label, life }, this.#o);
    record.token = issued.details.id;
    const sealed = this.#signIn.sealIssued(issued, session);
    return redirect(303, '/', [cookies.set('new-token', sealed, shownOnceLife)]);
  }

  async revokeToken(): Promise<PageAnswer> {
    const { session, form } = await this.#readOwnersForm();
    const id = form.get('id') ?? '';
    const wasThere = await this.#signIn.revokeToken(session, id, this.#o);
    if (wasThere) this.#context.record.token = id;
    return redirect(303, '/', [this.#setNotice(wasThere ? 'token-revoked' : 'token-gone')]);
  }

  #landing(notice: string | undefined, gone: readonly PageCookie[] = []): PageAnswer {
    const { host, isAtHome, origin } = this.#context;
    const signIn = isAtHome ? '/sign-in' : `${origin}/sign-in`;
    const body = landingPage({ host, signIn, ...(notice !== undefined && { notice }) });
    return { ...document(body), cookies: this.#forget([...gone, 'notice']) };
  }

  async #account(session: Session): Promise<PageAnswer> {
    const { host, otherHosts, cookies } = this.#context;
    const { who, csrfToken } = session;
    const tokens = await this.#signIn.tokens(session, this.#o);
    const issued = this.#signIn.openIssued(cookies.read('new-token'), session);
    const notice = this.#notice();
    const body = accountPage({
      host,
      otherHosts,
      signedIn: { ...who, csrfToken },
      tokens,
      choices: lifeChoices(this.#signIn.lives),
      ...(issued && { issued }),
      ...(notice !== undefined && { notice }),
    });
    return { ...documentWithForms(body), cookies: this.#forget(['new-token', 'notice']) };
  }

  #session(): Session | undefined {
    const session = this.#signIn.session(this.#context.cookies.read('session'));
    if (session !== undefined) this.#note(session);
    return session;
  }

  #note({ who }: Session): void {
    const { record } = this.#context;
    record.principal = `${who.verifier}:${who.name}`;
    record.verifier = who.verifier;
  }

  async #readForm(): Promise<{ readonly session: Session | undefined; readonly form: OwnForm }> {
    const { exchange, origin } = this.#context;
    const session = this.#session();
    const { request, askForBody: beforeBody } = exchange;
    return { session, form: await readOwnForm(request, origin, { ...this.#o, beforeBody }) };
  }

  async #readOwnersForm(): Promise<{ readonly session: Session; readonly form: OwnForm }> {
    const { session, form } = await this.#readForm();
    if (session === undefined) {
      throw new SignInError('expired', 'your session has ended: sign in again', 'no session');
    }
    this.#requireCsrfToken(session, form);
    return { session, form };
  }

  #requireCsrfToken(session: Session, form: OwnForm): void {
    if (this.#signIn.isCsrfToken(session, form.get('csrf') ?? '')) return;
    throw new RegistryError('DENIED', {
      message: 'this form is of an earlier sign-in: go back, and send it anew',
      reason: "the form does not have its session's token",
    });
  }

  #notice(): string | undefined {
    const name = this.#context.cookies.read('notice') ?? '';
    return Object.hasOwn(notices, name) ? notices[name as keyof typeof notices] : undefined;
  }

  #setNotice(name: keyof typeof notices): string {
    return this.#context.cookies.set('notice', name, shownOnceLife);
  }

  /** Clears those that the browser sent, where the page was shown. */
  #forget(names: readonly PageCookie[]): readonly string[] {
    const { cookies, showsBody } = this.#context;
    if (!showsBody) return [];
    return names.filter((name) => cookies.read(name) !== undefined).map((name) => cookies.clear(name));
  }
}
