import type { IncomingHttpHeaders } from 'node:http';
import { Browser } from './sign-in-by-hand.js';

/** Asks the proxy for a path. */
export type AskPage = (
  path: string,
  headers: Readonly<Record<string, string>>,
) => Promise<{ readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string }>;

/** Somebody who has signed in. */
export interface SignedIn {
  readonly token: string;
  /** Of the session, as a browser sends it back. */
  readonly cookie: string;
  /** The form on the page that revokes the token. */
  readonly revokeForm: string;
}

/**
 * Signs in as a browser does, over HTTP, and reads the first personal access token off the page.
 *
 * @param origin of the proxy, as its `externalUrl`
 */
export async function signInForToken(
  ask: AskPage,
  origin: string,
  who: { readonly login: string; readonly password: string },
): Promise<SignedIn> {
  const begun = await ask('/sign-in', {});
  const { location } = begun.headers;
  if (begun.status !== 302 || location === undefined) throw new Error(`no sign-in: ${begun.text}`);
  const callback = await new Browser().signIn(new URL(location), `${origin}/sign-in/callback`, who);
  const finished = await ask(`${callback.pathname}${callback.search}`, { cookie: cookiesOf(begun.headers) });
  if (finished.status !== 303) throw new Error(`the sign-in ended with ${finished.status}: ${finished.text}`);
  const cookie = cookiesOf(finished.headers);
  const { status, text } = await ask('/', { cookie, accept: 'text/html' });
  const read = (pattern: RegExp) => {
    const found = pattern.exec(text)?.[1];
    if (found === undefined) throw new Error(`the page has no ${pattern}: ${status} ${text}`);
    return found;
  };
  const csrf = read(/name="csrf" value="([^"]+)"/);
  const id = read(/name="id" value="([^"]+)"/);
  const revokeForm = new URLSearchParams({ csrf, id }).toString();
  return { token: read(/(drp_pat_[A-Za-z0-9_-]{43})/), cookie, revokeForm };
}

function cookiesOf(headers: IncomingHttpHeaders): string {
  return (headers['set-cookie'] ?? []).map((line) => line.split(';')[0]).join('; ');
}
