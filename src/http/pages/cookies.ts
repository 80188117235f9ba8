/**
 * The cookies of a browser that signs in: the sealed state of a sign-in under way, the session, a new token that is still
 * to be shown, and what was done last.
 */
export type PageCookie = 'sign-in' | 'session' | 'new-token' | 'notice';

/** Longer ones no browser keeps. */
const maxLength = 4096;

/**
 * Reads the cookies of a request and writes those of its answer. On https their names have the prefix `__Host-`: a
 * browser takes such a cookie only from this very host, so that no neighbour under the same domain can plant one
 * (RFC 6265bis section 4.1.3.2). On plain http, which is for trying on one's own machine, they cannot have it.
 */
export class PageCookies {
  readonly #isSecure: boolean;
  readonly #header: string;

  /** @param header the request's `Cookie` */
  constructor(isSecure: boolean, header = '') {
    this.#isSecure = isSecure;
    this.#header = header;
  }

  /** @returns undefined where it is absent, or there twice: nobody knows then which one is ours */
  read(cookie: PageCookie): string | undefined {
    const start = `${this.#nameOf(cookie)}=`;
    const pairs = this.#header.split(';').map((pair) => pair.trim());
    const [value, ...more] = pairs
      .filter((pair) => pair.startsWith(start))
      .map((pair) => pair.slice(start.length));
    return more.length > 0 || value === '' ? undefined : value;
  }

  /**
   * The value of a `Set-Cookie`.
   *
   * @param life milliseconds
   * @throws an Error where a browser would not keep it
   */
  set(cookie: PageCookie, value: string, life: number): string {
    const pair = `${this.#nameOf(cookie)}=${value}`;
    if (!/^[!#-+\--:<-[\]-~]+$/.test(value) || pair.length > maxLength) {
      throw new Error(`the ${cookie} cookie cannot be kept by a browser`);
    }
    return `${pair}; Max-Age=${Math.floor(life / 1000)}; ${this.#attributes}`;
  }

  clear(cookie: PageCookie): string {
    return `${this.#nameOf(cookie)}=; Max-Age=0; ${this.#attributes}`;
  }

  #nameOf(cookie: PageCookie): string {
    return `${this.#isSecure ? '__Host-' : ''}registry-${cookie}`;
  }

  /** Lax and not Strict: a browser comes back from the provider, which is another site, and must bring them along. */
  get #attributes(): string {
    return `Path=/; HttpOnly; SameSite=Lax${this.#isSecure ? '; Secure' : ''}`;
  }
}
