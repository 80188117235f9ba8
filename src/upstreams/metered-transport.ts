import type { Answer, OutgoingRequest, Transport } from './transport.js';
import type { UpstreamMetrics } from './upstream-metrics.js';

/** Counts requests by the class of their status. What was given up by its caller is not counted. */
export class MeteredTransport implements Transport {
  readonly #inner: Transport;
  readonly #metrics: UpstreamMetrics;

  constructor(inner: Transport, metrics: UpstreamMetrics) {
    this.#inner = inner;
    this.#metrics = metrics;
  }

  async send(request: OutgoingRequest): Promise<Answer> {
    try {
      const answer = await this.#inner.send(request);
      this.#metrics.request(answer.status);
      return answer;
    } catch (error) {
      if (!request.signal.aborted) this.#metrics.request(undefined);
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
