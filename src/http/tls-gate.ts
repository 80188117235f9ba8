import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import type { Clock, Log } from '../contracts/index.js';

/** All that is decided about TLS. Certificates and keys are PEM. */
export interface TlsContext {
  /** Ours, with its chain. */
  readonly certificate: string;
  readonly key: string;
  /** Default: TLSv1.2. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  /** Clients are asked for a certificate, and one that `ca` did not sign is refused. */
  readonly clientCertificates?: ClientCertificates;
}

export interface ClientCertificates {
  readonly ca: string;
  /** Who shows none is refused too. */
  readonly required: boolean;
}

export interface TlsGateParts {
  /** Milliseconds for a handshake. */
  readonly handshakeTime: number;
  readonly admit: (socket: TLSSocket) => void;
  /** Told of each connection that did not get in, but for clients that went away by themselves. */
  readonly refused: () => void;
  readonly clock: Clock;
  readonly log?: Log;
}

/**
 * TLS 1.3's own, and of TLS 1.2 those with forward secrecy and AEAD: Mozilla's "intermediate" but for DHE, whose groups
 * are slow and which no registry client needs. RFC 9325 section 4.2.
 */
const ciphers = [
  ...['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
  ...['AES128-GCM-SHA256', 'AES256-GCM-SHA384', 'CHACHA20-POLY1305'].flatMap((cipher) => [
    `ECDHE-ECDSA-${cipher}`,
    `ECDHE-RSA-${cipher}`,
  ]),
].join(':');

/** Milliseconds: anybody can fail to show a good certificate, as often as they like. */
const logEvery = 10_000;

const gone = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT']);

/** Turns connections into TLS connections, and lets in those whose client certificate is in order. */
export class TlsGate {
  readonly #parts: TlsGateParts;
  #context: TlsContext;
  #handshakeTime: number;
  #server: Server;
  #loggedAt = Number.NEGATIVE_INFINITY;
  #unlogged = 0;

  /** @throws where TLS cannot use the context */
  constructor(context: TlsContext, parts: TlsGateParts) {
    this.#parts = parts;
    this.#context = context;
    this.#handshakeTime = parts.handshakeTime;
    this.#server = this.#open();
  }

  /** True where the certificates of the clients that are in may not be good any more. */
  replace(context: TlsContext): { trustChanged: boolean } {
    const [before, server] = [this.#context, this.#open(context)];
    this.#context = context;
    this.#server = server;
    return { trustChanged: !sameTrust(before, context) };
  }

  /** @param time milliseconds; for handshakes that begin from now on */
  set handshakeTime(time: number) {
    if (time === this.#handshakeTime) return;
    this.#handshakeTime = time;
    this.#server = this.#open();
  }

  take(socket: Socket): void {
    // HTTP wants it true for plain connections; here it would leave who goes in the middle of a handshake half open.
    socket.allowHalfOpen = false;
    this.#server.emit('connection', socket);
  }

  /** A server that does not listen: connections are handed to it, and a reload puts another one in its place. */
  #open(context = this.#context): Server {
    const server = createServer(tlsOptions(context, this.#handshakeTime));
    server.on('secureConnection', (socket) => this.#judge(socket, context));
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      const { code } = error;
      if (code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') this.#refuseCertificate(socket, 'none');
      else if (socket.authorizationError) this.#refuseCertificate(socket, String(socket.authorizationError));
      else if (!gone.has(code ?? '')) this.#parts.refused();
      socket.destroy();
    });
    return server;
  }

  #judge(socket: TLSSocket, context: TlsContext): void {
    const fault = certificateFault(socket, context.clientCertificates);
    if (fault !== undefined) this.#refuseCertificate(socket, fault);
    // The handshake began before a reload.
    if (fault !== undefined || !sameTrust(context, this.#context)) socket.destroy();
    else this.#parts.admit(socket);
  }

  #refuseCertificate(socket: TLSSocket, reason: string): void {
    this.#parts.refused();
    const now = this.#parts.clock.now();
    if (now - this.#loggedAt < logEvery) {
      this.#unlogged += 1;
      return;
    }
    const fields = { reason, address: socket.remoteAddress, unlogged: this.#unlogged };
    this.#parts.log?.warn({ event: 'client-certificate', ...fields }, 'a client certificate was refused');
    this.#loggedAt = now;
    this.#unlogged = 0;
  }
}

/** @returns when the client's certificate ends, as milliseconds since the Unix epoch; infinite where it showed none */
export function certificateEnd(socket: Socket): number {
  if (!('getPeerX509Certificate' in socket)) return Number.POSITIVE_INFINITY;
  const certificate = (socket as TLSSocket).getPeerX509Certificate();
  return certificate === undefined ? Number.POSITIVE_INFINITY : Date.parse(certificate.validTo);
}

function tlsOptions(context: TlsContext, handshakeTimeout: number): TlsOptions {
  const { certificate: cert, key, minVersion = 'TLSv1.2', clientCertificates } = context;
  return {
    cert,
    key,
    minVersion,
    ciphers,
    // All of them are good: the client knows best which one its hardware has.
    honorCipherOrder: false,
    handshakeTimeout,
    ALPNProtocols: ['http/1.1'],
    secureOptions:
      constants.SSL_OP_NO_RENEGOTIATION |
      // A resumed session would bring the certificate of the first handshake, unchecked: it may have ended meanwhile.
      (clientCertificates ? constants.SSL_OP_NO_TICKET : 0),
    ...(clientCertificates && {
      requestCert: true,
      ca: clientCertificates.ca,
      // Else without one a connection gets in, and one with a bad certificate is for us to refuse.
      rejectUnauthorized: clientCertificates.required,
    }),
  };
}

function certificateFault(socket: TLSSocket, asked: ClientCertificates | undefined): string | undefined {
  if (asked === undefined) return undefined;
  if (socket.getPeerX509Certificate() === undefined) return asked.required ? 'none' : undefined;
  return socket.authorized ? undefined : String(socket.authorizationError);
}

function sameTrust({ clientCertificates: a }: TlsContext, { clientCertificates: b }: TlsContext): boolean {
  return a?.ca === b?.ca && a?.required === b?.required;
}
