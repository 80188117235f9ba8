import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';

/** What a client got. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  readonly text: string;
  /** False where the connection ended before the message did. */
  readonly whole: boolean;
}

export interface ClientRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** The `Host` header. */
  readonly host?: string;
  readonly body?: string | Buffer | Readable;
  readonly signal?: AbortSignal;
}

/** Sends one request over a connection of its own. Rejects only where no answer came at all. */
export function send(port: number, path: string, options: ClientRequest = {}): Promise<Answer> {
  const { method = 'GET', host = 'docker.test', headers = {}, body, signal } = options;
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      host: '127.0.0.1',
      port,
      path,
      method,
      agent: false,
      headers: { host, ...(headers as Record<string, string | string[]>) },
      ...(signal && { signal }),
    });
    request.setTimeout(60_000, () => request.destroy(new Error('nothing came for 60 s')));
    request.on('error', reject);
    request.once('response', (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('error', () => undefined); // a cut body: `whole` says so
      response.once('close', () => {
        const bytes = Buffer.concat(pieces);
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          rawHeaders: response.rawHeaders,
          body: bytes,
          text: bytes.toString('utf8'),
          whole: response.complete,
        });
      });
    });
    if (typeof body === 'object' && 'pipe' in body) body.pipe(request);
    else request.end(body);
  });
}

export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

export function bearer(token: string): string {
  return `Bearer ${token}`;
}
