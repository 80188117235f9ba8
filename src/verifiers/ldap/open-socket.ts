import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls';
import { Client } from 'ldapts';
import { untilAborted } from '../../decorators/single-flight.js';
import { hasCode } from '../../errors.js';
import { isResult } from './failures.js';
import type { LdapServer } from './ldap-url.js';

/** How servers are spoken to. */
export interface Security {
  /** Demands TLS on `ldap://` connections before anything else is said. */
  readonly startTls: boolean;
  /** Trusted beyond the system's roots. */
  readonly secureContext?: SecureContext;
}

/** RFC 4511 section 4.14.1. */
const startTlsOperation = '1.3.6.1.4.1.1466.20037';
/** Bytes. */
const maxPlainAnswer = 64 * 1024;
/** Milliseconds; a firewall that forgot the connection is noticed while it is idle. */
const keepAlive = 30_000;

/**
 * Connects to a server, with its TLS handshake. Its certificate must be for the host's name.
 *
 * ldapts could do so by itself; here the wait obeys the signal, and with StartTLS whatever came in plain text before
 * the handshake is thrown away with the client that read it.
 *
 * @throws the error of the socket, of TLS, or of the server that refuses StartTLS
 */
export async function openSocket(
  server: LdapServer,
  security: Security,
  signal: AbortSignal,
): Promise<Socket> {
  const { host, port } = server;
  const { secureContext } = security;
  if (server.secure) {
    const socket = connectTls({ host, port, ...(secureContext && { secureContext }) });
    return opened(socket, 'secureConnect', signal).catch((cause: unknown) => {
      // A server of plain LDAP takes a TLS hello for a broken request, and hangs up.
      const hungUp = hasCode(cause, 'ECONNRESET');
      const advice =
        'it ended the TLS handshake: is it ldap://, does it want StartTLS, or is the server behind it down?';
      throw hungUp ? new Error(advice, { cause }) : cause;
    });
  }
  const plain = await opened(connect({ host, port }), 'connect', signal);
  if (!security.startTls) return plain;
  try {
    await untilAborted(askForTls(plain), signal);
  } catch (error) {
    plain.destroy();
    throw error;
  }
  const socket = connectTls({
    socket: plain,
    // Without one of them the certificate would have to be for `localhost`.
    ...(isIP(host) === 0 ? { host, servername: host } : { host }),
    ...(secureContext && { secureContext }),
  });
  socket.once('close', () => plain.destroy());
  return opened(socket, 'secureConnect', signal);
}

async function askForTls(plain: Socket): Promise<void> {
  const client = new Client({ url: 'ldap://localhost', createConnection: () => plain });
  const outcome = client.exop(startTlsOperation);
  plain.on('data', () => {
    if (plain.bytesRead > maxPlainAnswer) plain.destroy();
  });
  await outcome.catch((cause: unknown) => {
    throw isResult(cause) ? new Error('it refuses StartTLS', { cause }) : cause;
  });
  plain.removeAllListeners('data');
  plain.on('error', () => {}); // TLS tells of it
}

async function opened<S extends Socket | TLSSocket>(
  socket: S,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
): Promise<S> {
  const open = new Promise<S>((resolve, reject) => {
    socket.once(event, () => resolve(socket));
    socket.once('close', () => reject(new Error('the connection was closed')));
    // Stays: an error after this one would end the process.
    socket.on('error', reject);
  });
  try {
    await untilAborted(open, signal);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  socket.setKeepAlive(true, keepAlive);
  socket.setNoDelay(true);
  return socket;
}
