import { nextLink } from '../protocol/link.js';
import { maxPageQuery } from '../protocol/page-query.js';

/**
 * The query of a list's next page. Its link must continue the same list: the upstream's own origin, the same path.
 *
 * @param page where this page is
 * @returns 'elsewhere' for a link that leads anywhere else: it is not followed
 */
export function nextPage(link: string | undefined, page: URL): string | 'elsewhere' | undefined {
  const target = link === undefined ? undefined : nextLink(link);
  if (target === undefined) return undefined;
  if (!URL.canParse(target, page.href)) return 'elsewhere';
  const next = new URL(target, page);
  const same = next.origin === page.origin && next.pathname === page.pathname && next.username === '';
  if (!same) return 'elsewhere';
  if (next.searchParams.has('ns')) next.searchParams.delete('ns'); // it selects a route of ours, not a page
  const query = next.search.slice(1);
  return query === '' || query.length > maxPageQuery ? 'elsewhere' : query;
}
