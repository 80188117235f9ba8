import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { TestContext } from 'node:test';
import { startLoopbackServer, type TlsFiles } from '../../../src/testing/loopback-server.js';

/** What a server was sent. */
export interface SentRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** As it stood on the wire. */
  readonly body: string;
  /** The body as a form. */
  readonly form: URLSearchParams;
}

export type Script = (request: SentRequest, response: ServerResponse) => void;

/** A loopback server that answers as a test says, and remembers what it was sent. */
export async function startScriptedServer(
  t: TestContext,
  script: Script,
  options: { readonly tls?: TlsFiles } = {},
) {
  const requests: SentRequest[] = [];
  const server = await startLoopbackServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      const { method = '', url: path = '', headers } = request;
      const sent = { method, path, headers, body, form: new URLSearchParams(body) };
      requests.push(sent);
      script(sent, response);
    });
  }, options);
  t.after(() => server.close());
  return { url: server.url, requests, close: () => server.close() };
}

/** Answers with JSON. */
export function json(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

/** Answers of servers that are broken or are others, by what they do. */
export const brokenAnswers: Readonly<Record<string, (response: ServerResponse) => void>> = {
  'answers 500': (response) => json(response, 500, { error: 'server_error' }),
  'answers 500, and blames the password': (response) => json(response, 500, { error: 'invalid_grant' }),
  'answers 503 and a page': (response) => void response.writeHead(503).end('<h1>Maintenance</h1>'),
  'answers 200 and a page': (response) =>
    void response.writeHead(200, { 'content-type': 'text/html' }).end('<form>Sign in</form>'),
  'answers 200 and nothing': (response) => void response.writeHead(200).end(),
  'answers 204': (response) => void response.writeHead(204).end(),
  'answers an empty object': (response) => json(response, 200, {}),
  'answers a list': (response) => json(response, 200, [{ active: true, access_token: 'x' }]),
  'answers a text': (response) => json(response, 200, 'active'),
  'answers null': (response) => json(response, 200, null),
  'answers half of it': (response) => void response.writeHead(200).end('{"active":true,"access_token":"x"'),
  'answers 404': (response) => json(response, 404, { message: 'no such page' }),
  'answers 400 in its own words': (response) => json(response, 400, { error: 'out_of_cheese' }),
  'answers 401 and a page': (response) => void response.writeHead(401).end('<h1>Unauthorized</h1>'),
  'answers 2 MB': (response) =>
    json(response, 200, { active: true, sub: 'alice', access_token: 'x', filler: 'x'.repeat(2_000_000) }),
  'promises more than it sends': (response) => {
    response.writeHead(200, { 'content-length': '500' }).write('{"active":true');
    setTimeout(() => response.destroy(), 20);
  },
  'cuts the connection': (response) => void response.destroy(),
  'never answers': () => {},
  'begins and never ends': (response) => {
    response.writeHead(200).write('{"active":true');
  },
};
