import type { IncomingMessage, ServerResponse } from 'node:http';
import { startLoopbackServer } from '../../../src/testing/loopback-server.js';
import type { GoogleAccounts } from './google-token-endpoint-accounts.js';

/** What goes wrong with it. */
export type MetadataFault =
  | 'fails'
  | 'is not Google'
  | 'is cut'
  | 'hangs'
  | 'says nonsense'
  | 'gives no life';

/** The metadata server of a virtual machine (cloud.google.com/compute/docs/metadata/querying-metadata). */
export interface GceMetadata {
  /** For GCE_METADATA_HOST: `127.0.0.1:PORT`. */
  readonly host: string;
  /** The paths that were asked for, with their queries. */
  readonly asked: readonly string[];
  /** Of the machine; undefined where it has none. */
  serviceAccount: string | undefined;
  fault: MetadataFault | undefined;
  /** It gives the same token until five minutes before its end. This brings that about. */
  forgetToken(): void;
  close(): Promise<void>;
}

/** Milliseconds. */
const cachedUntil = 5 * 60_000;

export async function startGceMetadata(accounts: GoogleAccounts): Promise<GceMetadata> {
  const asked: string[] = [];
  let cached: ReturnType<GoogleAccounts['giveToken']> | undefined;
  const tokenOf = (account: string) => {
    if (cached === undefined || cached.expiresAt - Date.now() <= cachedUntil)
      cached = accounts.giveToken(account);
    return cached;
  };
  const server = await startLoopbackServer((request, response) => {
    asked.push(request.url ?? '');
    if (metadata.fault !== undefined) return misbehave(metadata.fault, response);
    answer(request, response, metadata.serviceAccount, tokenOf);
  });
  const metadata: GceMetadata = {
    host: new URL(server.url).host,
    asked,
    serviceAccount: 'vm@acme.iam.gserviceaccount.com',
    fault: undefined,
    forgetToken: () => {
      cached = undefined;
    },
    close: () => server.close(),
  };
  return metadata;
}

const flavor = { 'metadata-flavor': 'Google', server: 'Metadata Server for VM' };
const json = { 'content-type': 'application/json' };
const html = { 'content-type': 'text/html; charset=UTF-8' };

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  account: string | undefined,
  tokenOf: (account: string) => { readonly token: string; readonly expiresAt: number },
) {
  const { pathname } = new URL(request.url ?? '/', 'http://metadata');
  const send = (status: number, headers: object, body: string) =>
    void response.writeHead(status, { ...flavor, ...headers }).end(body);
  // Its defence against requests that somebody was made to send (SSRF).
  if (request.headers['metadata-flavor'] !== 'Google')
    return send(403, html, 'Missing Metadata-Flavor:Google header.');
  if (request.headers['x-forwarded-for'] !== undefined)
    return send(403, html, 'X-Forwarded-For is not allowed.');
  const [, name] = /^\/computeMetadata\/v1\/instance\/service-accounts\/([^/]+)\/token$/.exec(pathname) ?? [];
  const known = account !== undefined && (name === 'default' || name === account);
  if (request.method !== 'GET' || !known) return send(404, html, 'Error 404 (Not Found)!!1');
  const { token, expiresAt } = tokenOf(account);
  const expires_in = Math.floor((expiresAt - Date.now()) / 1000);
  send(200, json, JSON.stringify({ access_token: token, expires_in, token_type: 'Bearer' }));
}

function misbehave(fault: MetadataFault, response: ServerResponse): void {
  switch (fault) {
    case 'fails':
      return void response.writeHead(500, { ...flavor, ...html }).end('Internal error');
    case 'is not Google':
      return void response.writeHead(200, json).end('{"access_token":"somebody-elses","expires_in":3600}');
    case 'is cut':
      response.writeHead(200, { ...flavor, ...json, 'content-length': '500' });
      return void response.write('{"access_token":"half-a-tok', () => response.destroy());
    case 'says nonsense':
      return void response.writeHead(200, { ...flavor, ...json }).end('ya29.not-json');
    case 'gives no life':
      return void response.writeHead(200, { ...flavor, ...json }).end('{"access_token":"ya29.endless"}');
    case 'hangs':
  }
}
