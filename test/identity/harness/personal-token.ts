import type { IncomingHttpHeaders } from 'node:http';
import { Browser } from './sign-in-by-hand.js';

/** Asks the proxy for a path. */
export type AskPage = (
  path: string,
  headers: Readonly<Record<string, string>>,
) => Promise<{ readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string }>;

/**
 * Signs in as a browser does, over HTTP, and reads the first personal access token off the page.
 *
 * @param origin of the proxy, as its `externalUrl`
 */
export async function signInForToken(
  ask: AskPage,
  origin: string,
  who: { readonly login: string; readonly password: string },
): Promise<string> {
  const begun = await ask('/sign-in', {});
  const { location } = begun.headers;
  if (begun.status !== 302 || location === undefined) throw new Error(`no sign-in: ${begun.text}`);
  const callback = await new Browser().signIn(new URL(location), `${origin}/sign-in/callback`, who);
  const finished = await ask(`${callback.pathname}${callback.search}`, { cookie: cookiesOf(begun.headers) });
  if (finished.status !== 303) throw new Error(`the sign-in ended with ${finished.status}: ${finished.text}`);
  const page = await ask('/', { cookie: cookiesOf(finished.headers), accept: 'text/html' });
  const token = /drp_pat_[A-Za-z0-9_-]{43}/.exec(page.text)?.[0];
  if (token === undefined) throw new Error(`no token on the page: ${page.status} ${page.text}`);
  return token;
}

function cookiesOf(headers: IncomingHttpHeaders): string {
  return (headers['set-cookie'] ?? []).map((line) => line.split(';')[0]).join('; ');
}
