import { type ClientHttp2Stream, constants, type OutgoingHttpHeaders } from 'node:http2';
import type { CriRuntime } from '../contracts/runtime.js';
import type { ClientCall } from './client-call.js';
import { firstValue, type RawHeaders, sentOn } from './raw-headers.js';
import { faultOfBegin, faultOfStream } from './runtime-faults.js';
import { watchAnswer } from './watch-answer.js';

export interface RelayOptions {
  readonly runtime: CriRuntime;
  /** The request's body where it was read already. Absent: what the client sends. */
  readonly body?: Uint8Array;
}

/**
 * Relays a call byte for byte: metadata both ways, messages as they come and no faster than they are taken, trailers, an
 * answer of headers alone, cancellation. What the runtime answers passes whatever it is; where it gives no answer, the
 * client gets a status that says why. Never rejects.
 */
export async function relay(call: ClientCall, rawHeaders: RawHeaders, o: RelayOptions): Promise<void> {
  const stream = await beginCall(call, rawHeaders, o);
  if (stream === undefined) return;
  relayAnswer(stream, call, o.runtime);
  if (o.body !== undefined) stream.end(o.body);
  else call.stream.pipe(stream);
}

/** The request's headers where its body was read, and is sent by us: it may have another length. */
export function readRequestHeaders(raw: RawHeaders): OutgoingHttpHeaders {
  const { 'content-length': _, ...headers } = requestHeaders(raw);
  return headers;
}

/** The request's headers as they go to the runtime. */
function requestHeaders(raw: RawHeaders): OutgoingHttpHeaders {
  return { ...sentOn(raw), ':method': 'POST', ':path': firstValue(raw, ':path') };
}

async function beginCall(
  call: ClientCall,
  rawHeaders: RawHeaders,
  { runtime, body }: RelayOptions,
): Promise<ClientHttp2Stream | undefined> {
  try {
    const headers = body ? readRequestHeaders(rawHeaders) : requestHeaders(rawHeaders);
    return await runtime.begin(headers, { signal: call.signal });
  } catch (error) {
    const { status, message } = faultOfBegin(error);
    call.fail(status, message);
    return undefined;
  }
}

function relayAnswer(stream: ClientHttp2Stream, call: ClientCall, runtime: CriRuntime): void {
  // Whoever waits no more ends the work too. On a stream that is closed this does nothing.
  const cancel = () => {
    stream.unpipe(call.stream);
    stream.close(constants.NGHTTP2_CANCEL);
  };
  watchAnswer(stream, {
    onHeaders: (raw, isAll) => {
      if (isAll) {
        call.answerWithHeaders(raw);
        return;
      }
      call.begin(raw);
      if (call.isAnswered) cancel();
      else stream.pipe(call.stream, { end: false });
    },
    onEnd: (trailers) => call.end(trailers),
    onFault: (isSessionLost) => {
      stream.unpipe(call.stream);
      const { status, message } = faultOfStream(stream, isSessionLost, runtime);
      call.fail(status, message);
    },
  });
  if (call.signal.aborted) cancel();
  else call.signal.addEventListener('abort', cancel, { once: true });
}
