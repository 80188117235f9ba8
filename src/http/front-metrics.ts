import type { Metrics } from '../contracts/index.js';

const durations = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** The metrics of the client side. */
export function frontMetrics(metrics: Metrics) {
  return {
    requests: metrics.counter('requests_total', 'Registry requests answered', [
      'operation',
      'method',
      'status',
      'upstream',
    ]),
    duration: metrics.histogram(
      'request_duration_seconds',
      'Seconds from the request to the end of its answer',
      ['operation'],
      durations,
    ),
    sent: metrics.counter('sent_bytes_total', 'Body bytes sent to clients', ['upstream']),
    received: metrics.counter('received_bytes_total', 'Body bytes received from clients', ['upstream']),
    cut: metrics.counter(
      'transfers_cut_total',
      'Transfers that did not come to their end, by who ended them',
      ['operation', 'upstream', 'by'],
    ),
    tokens: metrics.counter('token_requests_total', 'Token requests answered', ['status']),
    pages: metrics.counter('page_requests_total', 'Requests of pages and their forms answered', [
      'page',
      'status',
    ]),
  };
}
