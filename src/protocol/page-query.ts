/**
 * Characters of a list's query, `n=100&last=v1`, without `ns`. An upstream's link to a next page is handed on up to this
 * length, and comes back in a client's request.
 */
export const maxPageQuery = 4096;

/** Characters of any query of a client: a page's, and beside it `&ns=` with a registry's host, percent-encoded. */
export const maxRequestQuery = maxPageQuery + 512;
