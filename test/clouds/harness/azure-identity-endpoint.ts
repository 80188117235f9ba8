import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { startLoopbackServer } from '../../../src/testing/loopback-server.js';
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
  const [status, body, headers] =
    fault?.kind === 'status'
      ? [fault.status, { error: 'unavailable' }, fault.headers]
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
  if (kind === 'imds' && headers.metadata !== 'true') {
    return refusal('invalid_request', 'Required metadata header not specified');
  }
  // Whoever makes a server ask for a URL of theirs often cannot take this away.
  if (kind === 'imds' && headers['x-forwarded-for'] !== undefined) {
    return refusal('invalid_request', 'The request was forwarded');
  }
  if (kind === 'app' && headers['x-identity-header'] !== fake.header) {
    return [401, { statusCode: 401, message: 'Unauthorized' }];
  }
  const version = kind === 'imds' ? '2018-02-01' : '2019-08-01';
  if (searchParams.get('api-version') === version) return undefined;
  return refusal('bad_request_102', 'Required api-version is missing');
}

function tokenReply(fake: IdentityEndpointFake, entra: Entra, { url = '' }: IncomingMessage): Reply {
  const { searchParams } = new URL(url, fake.url);
  const resource = searchParams.get('resource');
  if (resource !== 'https://containerregistry.azure.net' && resource !== 'https://management.azure.com') {
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
