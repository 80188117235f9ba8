import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { startLoopbackServer } from '../../../src/testing/loopback-server.js';
import type { AzureMachine } from './azure-attested.js';
import type { Entra, EntraApplication } from './azure-entra.js';

/** What it answers instead: a status of the table in "How to use managed identities", or nothing at all. */
export type IdentityFault =
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  | { readonly kind: 'silent' }
  | { readonly kind: 'no token' };

/** Where a machine or an app of Azure's asks for tokens, on plain http. */
export interface IdentityEndpointFake {
  /** For AZURE_POD_IDENTITY_AUTHORITY_HOST; with `/msi/token` for IDENTITY_ENDPOINT. */
  readonly url: string;
  /** For IDENTITY_HEADER. */
  readonly header: string;
  /** The identities assigned. The first is used where nobody says which, and the other ones are not system-assigned. */
  readonly assigned: EntraApplication[];
  readonly requests: { readonly path: string; readonly headers: IncomingMessage['headers'] }[];
  fault: IdentityFault | undefined;
  /** The virtual machine that documents are about; without one there are none. */
  machine: AzureMachine | undefined;
  /** Documents are what was made for the nonce of the first question, as Azure has been seen to do. */
  keepsDocuments: boolean;
  close(): Promise<void>;
}

const lifetime = 86_400;

/** @param kind `imds`: a virtual machine's; `app`: that of App Service, Functions and Container Apps */
export async function startIdentityEndpoint(
  entra: Entra,
  kind: 'imds' | 'app',
  ...assigned: EntraApplication[]
): Promise<IdentityEndpointFake> {
  const header = randomUUID();
  const requests: IdentityEndpointFake['requests'] = [];
  const server = await startLoopbackServer((request, response) => {
    requests.push({ path: request.url ?? '', headers: request.headers });
    respond(fake, entra, kind, request, response);
  });
  const fake: IdentityEndpointFake = {
    ...{ url: server.url, header, assigned, requests, fault: undefined },
    ...{ machine: undefined, keepsDocuments: false },
    close: () => server.close(),
  };
  return fake;
}

type Reply = readonly [status: number, body: object, headers?: Readonly<Record<string, string>>];

const refusal = (error: string, error_description: string): Reply => [400, { error, error_description }];

function respond(
  fake: IdentityEndpointFake,
  entra: Entra,
  kind: 'imds' | 'app',
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { fault } = fake;
  if (fault?.kind === 'silent') return;
  if (fault === undefined && kind === 'imds' && isVmIdQuestion(request) && fake.machine !== undefined) {
    return void response.writeHead(200, { 'content-type': 'text/plain' }).end(fake.machine.vmId);
  }
  const [status, body, headers] =
    fault?.kind === 'status'
      ? [fault.status, { error: 'unavailable' }, fault.headers]
      : kind === 'imds' && request.url?.startsWith('/metadata/attested/')
        ? attestedReply(fake, request)
        : (badRequest(fake, kind, request) ?? tokenReply(fake, entra, request));
  response
    .writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers })
    .end(JSON.stringify(body));
}

function badRequest(
  fake: IdentityEndpointFake,
  kind: 'imds' | 'app',
  { method, url = '', headers }: IncomingMessage,
): Reply | undefined {
  const { pathname, searchParams } = new URL(url, fake.url);
  const path = kind === 'imds' ? '/metadata/identity/oauth2/token' : '/msi/token';
  if (method !== 'GET' || pathname !== path) return [404, { error: 'not_found' }];
  if (kind === 'imds') {
    const refused = notForThisMachine(headers);
    if (refused !== undefined) return refused;
  }
  if (kind === 'app' && headers['x-identity-header'] !== fake.header) {
    return [401, { statusCode: 401, message: 'Unauthorized' }];
  }
  const version = kind === 'imds' ? '2018-02-01' : '2019-08-01';
  if (searchParams.get('api-version') === version) return undefined;
  return refusal('bad_request_102', 'Required api-version is missing');
}

/** Whose answer is a text: "Azure Instance Metadata Service", data format. */
function isVmIdQuestion({ method, url = '', headers }: IncomingMessage): boolean {
  const { pathname, searchParams } = new URL(url, 'http://metadata');
  const isWhole = searchParams.has('api-version') && searchParams.get('format') === 'text';
  const isAsked = method === 'GET' && pathname === '/metadata/instance/compute/vmId' && isWhole;
  return isAsked && notForThisMachine(headers) === undefined;
}

function notForThisMachine(headers: IncomingMessage['headers']): Reply | undefined {
  if (headers.metadata !== 'true') {
    return refusal('invalid_request', 'Required metadata header not specified');
  }
  // Whoever makes a server ask for a URL of theirs often cannot take this away.
  if (headers['x-forwarded-for'] !== undefined)
    return refusal('invalid_request', 'The request was forwarded');
  return undefined;
}

/** Characters of a nonce: more are refused. */
const maxNonce = 32;
const keptDocuments = new WeakMap<IdentityEndpointFake, Buffer>();

function attestedReply(fake: IdentityEndpointFake, { method, url = '', headers }: IncomingMessage): Reply {
  const { pathname, searchParams } = new URL(url, fake.url);
  if (pathname !== '/metadata/attested/document' || fake.machine === undefined)
    return [404, { error: 'Not found' }];
  if (method !== 'GET') return [405, { error: 'Method not allowed' }];
  const refused = notForThisMachine(headers);
  if (refused !== undefined) return refused;
  if (searchParams.get('api-version') !== '2025-04-07') {
    return [400, { error: 'Bad request. api-version is invalid or was not specified in the request.' }];
  }
  const nonce = searchParams.get('nonce') ?? '';
  if (nonce === '' || nonce.length > maxNonce || searchParams.getAll('nonce').length > 1)
    return [400, { error: 'Bad request. nonce is invalid.' }];
  const kept = fake.keepsDocuments ? keptDocuments.get(fake) : undefined;
  const document = kept ?? fake.machine.document(nonce);
  keptDocuments.set(fake, document);
  return [200, { encoding: 'pkcs7', signature: document.toString('base64') }];
}

function tokenReply(fake: IdentityEndpointFake, entra: Entra, { url = '' }: IncomingMessage): Reply {
  const { searchParams } = new URL(url, fake.url);
  const resource = searchParams.get('resource');
  if (resource === null || !entra.audiences.includes(resource)) {
    return refusal(
      'invalid_resource',
      `AADSTS500011: The resource principal named ${resource} was not found.`,
    );
  }
  const wanted = searchParams.get('client_id');
  const application = fake.assigned.find(({ clientId }) => wanted === null || clientId === wanted);
  if (application === undefined) return refusal('invalid_request', 'Identity not found');
  if (wanted === null && fake.assigned.length > 1) {
    return refusal(
      'invalid_request',
      'Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request',
    );
  }
  const now = Math.floor(Date.now() / 1000);
  const body = {
    ...(fake.fault?.kind !== 'no token' && { access_token: entra.issue(application, resource) }),
    client_id: application.clientId,
    // Numbers as texts.
    ...{ expires_in: `${lifetime}`, expires_on: `${now + lifetime}`, not_before: `${now}` },
    ...{ resource, token_type: 'Bearer' },
  };
  return [200, body];
}
