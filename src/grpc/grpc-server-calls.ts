import { constants, type ServerHttp2Stream } from 'node:http2';
import type { Metrics } from '../contracts/index.js';
import { type GrpcStatusName, grpcStatus, statusName } from '../protocol/grpc-status.js';
import type { CallFront } from './call-front.js';
import { endWithStatus } from './status.js';

/** Methods come from clients; a label's values may not. */
const knownMethods = new Set([
  'ListImages',
  'StreamImages',
  'ImageStatus',
  'PullImage',
  'RemoveImage',
  'ImageFsInfo',
]);

/** The calls under way, whose they are, and how they end. */
export class RunningCalls {
  readonly #streams = new Map<ServerHttp2Stream, CallFront | undefined>();
  readonly #waiting = new Set<() => void>();
  readonly #count: { add(labels: Readonly<Record<string, string>>): void };

  constructor(metrics: Metrics) {
    this.#count = metrics.counter('cri_calls_total', 'Calls answered, by what kubelet or others asked for', [
      'method',
      'code',
    ]);
  }

  get size(): number {
    return this.#streams.size;
  }

  /** @param front absent: the server answers by itself */
  begin(stream: ServerHttp2Stream, method: string, front?: CallFront): void {
    this.#streams.set(stream, front);
    stream.once('close', () => {
      this.#streams.delete(stream);
      this.#count.add({ method: knownMethods.has(method) ? method : 'other', code: codeOf(stream) });
      for (const look of this.#waiting) look();
    });
  }

  /** Resolves when none is under way: of one front, or at all. */
  whenNone(front?: CallFront): Promise<void> {
    const isNone = () =>
      front === undefined ? this.size === 0 : ![...this.#streams.values()].includes(front);
    return new Promise((resolve) => {
      const look = () => {
        if (!isNone()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Ends all calls with UNAVAILABLE, which clients repeat. @returns how many there were */
  cut(message: string): number {
    const streams = [...this.#streams.keys()];
    for (const stream of streams) {
      // After headers, trailers are the front's business: the end of the connection tells as much.
      if (!stream.headersSent) endWithStatus(stream, grpcStatus.UNAVAILABLE, message);
    }
    return streams.length;
  }
}

/** As it was sent; where none was, by how the stream ended. */
function codeOf(stream: ServerHttp2Stream): GrpcStatusName {
  // Absent before anything was sent, whatever the type says.
  const headers: Readonly<Record<string, unknown>> | undefined = stream.sentHeaders;
  const sent = stream.sentTrailers?.['grpc-status'] ?? headers?.['grpc-status'];
  if (sent !== undefined) return statusName(Number(sent));
  return stream.rstCode === constants.NGHTTP2_CANCEL ? 'CANCELLED' : 'UNKNOWN';
}
