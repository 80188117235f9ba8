import { type ClientHttp2Session, type ClientSessionOptions, connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';

/** Milliseconds until a peer that accepts a connection must have sent its first frame (RFC 9113 section 3.4). */
const defaultGreetingTimeout = 5_000;

/** A message of 16 MiB passes in few round trips; a call that nobody reads holds back this much, and no other call. */
const streamWindow = 1024 * 1024;
const sessionWindow = 16 * 1024 * 1024;

const options: ClientSessionOptions = {
  settings: {
    enablePush: false,
    initialWindowSize: streamWindow,
    // What a runtime says about a failure may be long; Node refuses more than 64 KiB in one header all the same.
    maxHeaderListSize: 1024 * 1024,
  },
  // Node counts what waits to be sent, and refuses new calls above 10 MB: less than one message. Each call holds back
  // its own client long before.
  maxSessionMemory: 1024,
  maxHeaderListPairs: 2048,
  maxSendHeaderBlockLength: 1024 * 1024,
};

/**
 * Connects to a unix socket and waits until its other side speaks HTTP/2. Errors of the session after that are for its
 * `close` event: they never crash the process.
 *
 * @param o.greetingTimeout milliseconds
 * @throws an Error in one line, without the socket's path; the signal's reason
 */
export async function openSession(
  path: string,
  { signal, greetingTimeout = defaultGreetingTimeout }: OpenSessionOptions,
): Promise<ClientHttp2Session> {
  signal.throwIfAborted();
  const session = connect('http://localhost', { ...options, createConnection: () => connectSocket(path) });
  let failure: unknown;
  session.on('error', (error) => {
    failure ??= error;
  });
  try {
    await greeted(session, signal, greetingTimeout, () => failure);
  } catch (error) {
    session.destroy();
    throw error;
  }
  session.setLocalWindowSize(sessionWindow);
  return session;
}

export interface OpenSessionOptions {
  readonly signal: AbortSignal;
  readonly greetingTimeout?: number;
}

function greeted(
  session: ClientHttp2Session,
  signal: AbortSignal,
  timeout: number,
  failure: () => unknown,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => settle(() => reject(signal.reason));
    const onClose = () => settle(() => reject(new Error(whyClosed(failure()))));
    const timer = setTimeout(
      () =>
        settle(() => reject(new Error(`it accepts connections, and says nothing for ${timeout / 1000}s`))),
      timeout,
    );
    const settle = (end: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      session.off('close', onClose);
      end();
    };
    session.once('remoteSettings', () => settle(resolve));
    session.once('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens at this socket',
  EACCES: 'permission denied',
  ENOTSOCK: 'this is no socket',
  ECONNRESET: 'it closes connections at once',
  EPIPE: 'it closes connections at once',
  EAGAIN: 'it accepts no more connections',
};

function whyClosed(error: unknown): string {
  if (!(error instanceof Error)) return 'it closes connections at once';
  const code = (error as NodeJS.ErrnoException).code ?? error.name;
  const reason = reasons[code];
  if (reason !== undefined) return `${code}: ${reason}`;
  return code.startsWith('ERR_HTTP2') ? `it does not speak HTTP/2 (${code})` : code;
}
