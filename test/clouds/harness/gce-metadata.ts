import type { IncomingMessage, ServerResponse } from 'node:http';
import { startLoopbackServer } from '../../../src/testing/loopback-server.js';
import { type GoogleIdentity, type VirtualMachine, virtualMachine } from './google-identity.js';
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
  /** Whose identity tokens it gives. */
  machine: VirtualMachine;
  /**
   * `pods`: the metadata server of GKE with Workload Identity, which knows nothing of `format` and stands for a pod;
   * `none`: one of a pod whose ServiceAccount has no account of Google's.
   */
  serves: 'machine' | 'pods' | 'none';
  /** It gives the same token until five minutes before its end. This brings that about. */
  forgetToken(): void;
  close(): Promise<void>;
}

/** Milliseconds. */
const cachedUntil = 5 * 60_000;

/** @param identity signs its identity tokens; without it there are none */
export async function startGceMetadata(
  accounts: GoogleAccounts,
  identity?: GoogleIdentity,
): Promise<GceMetadata> {
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
    answer(request, response, metadata.serviceAccount, {
      token: tokenOf,
      ...(identity && { identity: (account, query) => identityToken(identity, metadata, account, query) }),
    });
  });
  const metadata: GceMetadata = {
    host: new URL(server.url).host,
    asked,
    serviceAccount: 'vm@acme.iam.gserviceaccount.com',
    fault: undefined,
    machine: virtualMachine,
    serves: 'machine',
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

interface Givers {
  readonly token: (account: string) => { readonly token: string; readonly expiresAt: number };
  /** @returns a token; or the status of a refusal, and its text */
  readonly identity?: (account: string, query: URLSearchParams) => string | readonly [number, string];
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  account: string | undefined,
  givers: Givers,
) {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://metadata');
  const send = (status: number, headers: object, body: string) =>
    void response.writeHead(status, { ...flavor, ...headers }).end(body);
  // Its defence against requests that somebody was made to send (SSRF).
  if (request.headers['metadata-flavor'] !== 'Google')
    return send(403, html, 'Missing Metadata-Flavor:Google header.');
  if (request.headers['x-forwarded-for'] !== undefined)
    return send(403, html, 'X-Forwarded-For is not allowed.');
  const [, name, what] =
    /^\/computeMetadata\/v1\/instance\/service-accounts\/([^/]+)\/(token|identity)$/.exec(pathname) ?? [];
  // Whoever looks whether it is there asks for the root.
  if (pathname === '/') return send(200, { 'content-type': 'application/text' }, '0.1/\ncomputeMetadata/\n');
  const known = account !== undefined && (name === 'default' || name === account);
  if (request.method !== 'GET' || !known) return send(404, html, 'Error 404 (Not Found)!!1');
  if (what === 'identity') {
    const given = givers.identity?.(account, searchParams) ?? ([404, 'Error 404 (Not Found)!!1'] as const);
    return typeof given === 'string' ? send(200, html, given) : send(given[0], html, given[1]);
  }
  const { token, expiresAt } = givers.token(account);
  const expires_in = Math.floor((expiresAt - Date.now()) / 1000);
  send(200, json, JSON.stringify({ access_token: token, expires_in, token_type: 'Bearer' }));
}

/** Each is a new one (cloud.google.com/compute/docs/instances/verifying-instance-identity). */
function identityToken(
  identity: GoogleIdentity,
  { serves, machine }: Pick<GceMetadata, 'serves' | 'machine'>,
  account: string,
  query: URLSearchParams,
): string | readonly [number, string] {
  const audience = query.get('audience');
  if (!audience) return [400, 'non-empty audience parameter required'];
  if (serves === 'none') return [404, 'Not Found'];
  if (serves === 'pods') return identity.standardToken(audience, { email: account, email_verified: true });
  const format = query.get('format') ?? 'standard';
  if (format === 'standard') return identity.standardToken(audience);
  if (format === 'full') return identity.fullToken(audience, machine, account);
  return [400, `invalid value for format: ${format}`];
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
