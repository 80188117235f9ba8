import type { Metrics } from '../contracts/index.js';

/** What an upstream counts. Labels are the upstream's configured name and closed sets. */
export interface UpstreamMetrics {
  /** @param status of the answer; undefined where there was none */
  request(status: number | undefined): void;
  tokenFetch(result: 'granted' | 'refused' | 'failed'): void;
  repositoryRefused(): void;
  credentialRefused(): void;
  linkDropped(): void;
}

export function upstreamMetrics(metrics: Metrics, upstream: string): UpstreamMetrics {
  const requests = metrics.counter(
    'upstream_requests_total',
    'Requests sent to upstreams and their storage',
    ['upstream', 'status'],
  );
  const tokens = metrics.counter('upstream_token_fetches_total', 'Tokens asked of upstreams', [
    'upstream',
    'result',
  ]);
  const only = ['upstream'];
  const repositories = metrics.counter(
    'upstream_repository_refusals_total',
    'Repositories an upstream refused although it let us in',
    only,
  );
  const credentials = metrics.counter(
    'upstream_credential_refusals_total',
    'Credentials an upstream refused',
    only,
  );
  const links = metrics.counter('upstream_links_dropped_total', 'Pagination links that led elsewhere', only);
  return {
    request: (status) => requests.add({ upstream, status: statusClass(status) }),
    tokenFetch: (result) => tokens.add({ upstream, result }),
    repositoryRefused: () => repositories.add({ upstream }),
    credentialRefused: () => credentials.add({ upstream }),
    linkDropped: () => links.add({ upstream }),
  };
}

function statusClass(status: number | undefined): string {
  if (status === undefined) return 'none';
  return status >= 200 && status < 600 ? `${Math.floor(status / 100)}xx` : 'other';
}
