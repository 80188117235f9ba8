/** What can be asked of the pages. */
export type PageName =
  | 'landing'
  | 'asset'
  | 'sign-in'
  | 'callback'
  | 'sign-out'
  | 'create-token'
  | 'revoke-token';

export interface PageRoute {
  readonly name: PageName;
  readonly path: string;
  readonly methods: readonly string[];
}

/** There always. */
const open: readonly PageRoute[] = [
  { name: 'landing', path: '/', methods: ['GET', 'HEAD'] },
  { name: 'asset', path: '/assets/page.css', methods: ['GET', 'HEAD'] },
  { name: 'asset', path: '/assets/copy.js', methods: ['GET', 'HEAD'] },
  { name: 'asset', path: '/assets/icon.svg', methods: ['GET', 'HEAD'] },
];

/** There where people can sign in. What answers a HEAD must not use up what only a GET can show. */
const ofSignIn: readonly PageRoute[] = [
  { name: 'sign-in', path: '/sign-in', methods: ['GET', 'HEAD'] },
  { name: 'callback', path: '/sign-in/callback', methods: ['GET'] },
  { name: 'sign-out', path: '/sign-in/out', methods: ['POST'] },
  { name: 'create-token', path: '/personal-tokens', methods: ['POST'] },
  { name: 'revoke-token', path: '/personal-tokens/revoke', methods: ['POST'] },
];

const routes = new Map([...open, ...ofSignIn].map((route) => [route.path, route]));

/**
 * The page at a path; undefined where there is none, and the registry answers. `/` is one for whoever takes HTML, or does
 * not say what they take, as health checks do.
 */
export function pageAt(
  path: string,
  { accept, canSignIn }: { readonly accept: string | undefined; readonly canSignIn: boolean },
): PageRoute | undefined {
  const route = routes.get(path);
  if (route === undefined || (!canSignIn && ofSignIn.includes(route))) return undefined;
  return route.name === 'landing' && !takesHtml(accept) ? undefined : route;
}

/** RFC 9110 section 12.5.1. */
function takesHtml(accept: string | undefined): boolean {
  if (accept === undefined || accept.trim() === '') return true;
  return accept.split(',').some((range) => {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    const isRefused = parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
    return ['text/html', 'text/*', '*/*'].includes(type) && !isRefused;
  });
}
