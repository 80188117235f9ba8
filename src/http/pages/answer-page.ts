import { assets } from './assets.js';
import { landingPage } from './landing-page.js';
import { document, type PageAnswer } from './page-answer.js';
import type { PageContext, SignIn } from './page-context.js';
import type { PageRoute } from './page-route.js';
import { SignInPages } from './sign-in-pages.js';

/** Seconds. The address of an asset has the hash of its content, so that it may be kept. */
const assetLife = 3600;

/**
 * Answers one page request whose method is one of the route's.
 *
 * @throws RegistryError, SignInError: their messages are for the page
 */
export function answerPage(
  { name, path }: PageRoute,
  context: PageContext,
  signIn: SignIn | undefined,
): Promise<PageAnswer> {
  if (name === 'asset') return Promise.resolve(answerAsset(path, context));
  if (signIn === undefined) return Promise.resolve(document(landingPage({ host: context.host })));
  const pages = new SignInPages(signIn, context);
  switch (name) {
    case 'landing':
      return pages.start();
    case 'sign-in':
      return pages.begin();
    case 'callback':
      return pages.finish();
    case 'sign-out':
      return pages.signOut();
    case 'create-token':
      return pages.createToken();
    case 'revoke-token':
      return pages.revokeToken();
  }
}

function answerAsset(path: string, { exchange }: PageContext): PageAnswer {
  const asset = assets.get(path);
  if (asset === undefined) throw new Error(`there is no asset ${path}`);
  const { etag, contentType, body } = asset;
  const headers = { etag, 'cache-control': `public, max-age=${assetLife}` };
  const known = exchange.request.headers['if-none-match']
    ?.split(',')
    .map((tag) => tag.trim().replace(/^W\//, ''));
  if (known?.includes(etag)) return { status: 304, headers };
  return { status: 200, headers: { ...headers, 'content-type': contentType }, body };
}
