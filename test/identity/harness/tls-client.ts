import type { IncomingHttpHeaders } from 'node:http';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import type { TestCertificate } from '../../../src/testing/certificates.js';

export interface TlsAnswer {
  readonly status: number;
  readonly challenge: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Sends one request over TLS to this machine, over a connection of its own. */
export function sendTls(
  port: number,
  path: string,
  options: {
    /** PEM of the authority of the server's certificate. */
    readonly ca: string;
    /** Default: 127.0.0.1, and the name `localhost`. */
    readonly server?: { readonly address: '127.0.0.1' | '::1'; readonly name: string };
    /** What the client shows. */
    readonly client?: TestCertificate | undefined;
    readonly headers?: Readonly<Record<string, string>>;
  },
): Promise<TlsAnswer> {
  const { ca, client, headers = {}, server = { address: '127.0.0.1', name: 'localhost' } } = options;
  const shown = client && { cert: client.certificate, key: client.privateKey };
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        host: server.address,
        servername: server.name,
        port,
        path,
        ca,
        agent: false,
        headers: { host: 'docker.test', ...headers },
        ...shown,
      },
      (response) => {
        const { statusCode: status = 0 } = response;
        const { headers: received } = response;
        const challenge = received['www-authenticate'];
        const whole = (body: string) => resolve({ status, challenge, headers: received, text: body });
        text(response).then(whole, reject);
      },
    );
    asked.setTimeout(30_000, () => asked.destroy(new Error('nothing came for 30 s')));
    asked.on('error', reject);
    asked.end();
  });
}
