import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from 'node:http2';
import type { RawHeaders } from './raw-headers.js';

/** What becomes of a call, in this order; one of `onEnd`, `onFault` and the last `onHeaders` is the end. */
export interface AnswerListener {
  /** @param isAll nothing follows */
  onHeaders(raw: RawHeaders, isAll: boolean): void;
  /** All data were read. @param trailers empty where there are none */
  onEnd(trailers: RawHeaders): void;
  /** The stream was closed before it ended. */
  onFault(isSessionLost: boolean): void;
}

/**
 * Tells an answer that ended from one that was cut: Node emits `end` for both. Whoever listens reads the data.
 */
export function watchAnswer(stream: ClientHttp2Stream, listener: AnswerListener): void {
  const { session } = stream;
  let isOver = false;
  let hasHeaders = false;
  let trailers: RawHeaders | undefined;
  const over = (tell: () => void) => {
    if (isOver) return;
    isOver = true;
    tell();
  };
  stream.on('error', () => {});
  // Node's types know nothing of the third argument.
  stream.on('response', ((_: IncomingHttpHeaders, flags: number, raw: RawHeaders) => {
    hasHeaders = true;
    const isAll = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    if (isAll) {
      over(() => listener.onHeaders(raw, true));
      stream.resume();
    } else listener.onHeaders(raw, false);
  }) as () => void);
  stream.on('trailers', ((_: IncomingHttpHeaders, _flags: number, raw: RawHeaders) => {
    trailers = raw;
  }) as () => void);
  stream.on('end', () => {
    const last = trailers;
    if (last !== undefined) over(() => listener.onEnd(last));
  });
  stream.once('close', () =>
    over(() => {
      const isSessionLost = session === undefined || session.destroyed;
      const isWhole = hasHeaders && stream.readableEnded && stream.rstCode === constants.NGHTTP2_NO_ERROR;
      if (isWhole && !isSessionLost) listener.onEnd(trailers ?? []);
      else listener.onFault(isSessionLost);
    }),
  );
}
