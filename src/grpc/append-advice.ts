import { withAdvice } from '../image-service/pull-advice.js';
import { withChangedMessage } from './answer-message.js';
import type { RawHeaders } from './raw-headers.js';
import { encodeStatusMessage } from './status.js';
import type { WholeAnswer } from './whole-answer.js';

/** Bytes of trailers that every client takes: the usual bound of header lists (gRPC over HTTP/2, "Requests"). */
const maxTrailers = 8 * 1024;

/**
 * Adds a sentence of ours to the end of an error's text, and so keeps the prefixes that kubelet looks for. What the
 * runtime says is never cut: where there is no room, the answer stays as it is.
 *
 * @param advice one line, without a secret
 */
export function appendAdvice(answer: WholeAnswer, advice: string): WholeAnswer {
  const change = {
    plain: (message: string) => withAdvice(message, advice),
    // What stands there is not encoded anew: the runtime may have done it in another way.
    encoded: (before: string) =>
      `${before}${encodeStatusMessage(withAdvice(before, advice).slice(before.length))}`,
  };
  return withChangedMessage(answer, change, (raw) => sizeOf(raw) <= maxTrailers);
}

/** RFC 9113 section 6.5.2: 32 bytes for each field beside its text. */
function sizeOf(raw: RawHeaders): number {
  return raw.reduce((sum, text) => sum + text.length, 16 * raw.length);
}
