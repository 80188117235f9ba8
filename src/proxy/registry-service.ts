import { Readable } from 'node:stream';
import {
  type Access,
  type CallOptions,
  type ClientCredentials,
  type Headers,
  type Policy,
  type Principal,
  qualifiedName,
  type RegistryOperation,
  type RegistryResponse,
  requestHeaders,
  type TokenIssuer,
  type Verifier,
} from '../contracts/index.js';
import { authenticate } from '../decorators/authenticate.js';
import { noteUser } from '../decorators/note-user.js';
import { RegistryError } from '../errors.js';
import { printReference } from '../reference/reference.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { covers, type Scope } from '../reference/scope.js';
import type { Destination, RouteTable } from '../routing/route-table.js';
import type { AccessRecord, ClientRequest, ClientResponse } from './client-request.js';
import { requiredScope } from './required-scope.js';
import { readList, rewriteTagsList } from './rewrite.js';

export interface RegistryServiceParts {
  readonly routes: RouteTable;
  readonly verifier: Verifier;
  readonly policy: Policy;
  readonly tokens: TokenIssuer;
}

/** A registry request: authorised under its canonical name, forwarded, and its answer made the client's again. */
export class RegistryService {
  readonly #parts: RegistryServiceParts;

  constructor(parts: RegistryServiceParts) {
    this.#parts = parts;
  }

  /** @throws RegistryError */
  async handle(request: ClientRequest, record: AccessRecord, o: CallOptions): Promise<ClientResponse> {
    const { operation, method, host, ns } = request;
    if (operation.kind === 'ping' || operation.kind === 'catalog') {
      return this.#withoutRepository(request, record, o);
    }
    const { routes } = this.#parts;
    const name = ns === undefined ? operation.repository : routes.mirrored(host, ns, operation.repository);
    const destination = routes.resolve(host, name);
    record.repository = destination?.canonical ?? name;
    describeOperation(operation, record);
    await this.#authorise(
      request,
      requiredScope(method, operation, destination?.canonical ?? name),
      record,
      o,
    );
    if (destination === undefined) {
      throw new RegistryError('NAME_UNKNOWN', {
        detail: { name: operation.repository },
        reason: 'no route takes it',
      });
    }
    record.upstream = destination.upstreamId;
    record.upstreamRepository = destination.upstreamName;
    const response = await this.#forward(request, operation.repository, destination, o);
    const digest = response.headers.get('docker-content-digest');
    if (digest !== undefined) record.digest = digest;
    return operation.kind === 'tags' || operation.kind === 'referrers'
      ? this.#rewrite(request, operation, response)
      : response;
  }

  async #withoutRepository(
    request: ClientRequest,
    record: AccessRecord,
    o: CallOptions,
  ): Promise<ClientResponse> {
    const wanted = requiredScope(request.method, request.operation, undefined);
    if (request.operation.kind === 'catalog') {
      // Whoever is somebody is told that it is off; a challenge names its scope all the same.
      if (wanted !== undefined) record.wanted = wanted;
      record.action = '*';
      await this.#authorise(request, undefined, record, o);
      throw new RegistryError('UNSUPPORTED', { message: 'the catalogue is switched off' });
    }
    await this.#authorise(request, wanted, record, o);
    const body = Buffer.from('{}');
    const headers = new Map([
      ['content-type', 'application/json'],
      ['content-length', String(body.length)],
    ]);
    return { status: 200, headers, ...(request.method === 'GET' && { body: Readable.from([body]) }) };
  }

  /** Passes only where every needed action is granted; says the same whether or not the repository exists. */
  async #authorise(
    { credentials, host }: ClientRequest,
    wanted: Scope | undefined,
    record: AccessRecord,
    o: CallOptions,
  ): Promise<void> {
    record.action ??= wanted?.actions.join(',') ?? 'ping';
    if (wanted !== undefined) record.wanted = wanted;
    const { shown } = credentials;
    if (shown.kind === 'none')
      throw new RegistryError('UNAUTHORIZED', { reason: 'no credentials were shown' });
    if (shown.kind === 'bearer') {
      const access = await this.#parts.tokens.open(shown.token, { ...o, service: host.service });
      this.#authoriseToken(access, wanted, record);
    } else {
      await this.#authorisePassword(credentials, host.service, wanted, record, o);
    }
  }

  #authoriseToken(access: Access, wanted: Scope | undefined, record: AccessRecord): void {
    describePrincipal(access.principal, record);
    if (wanted !== undefined && !covers(access.grants, wanted)) {
      throw new RegistryError('UNAUTHORIZED', {
        bearerError: 'insufficient_scope',
        reason: 'the token does not grant it',
      });
    }
  }

  async #authorisePassword(
    credentials: ClientCredentials,
    service: string,
    wanted: Scope | undefined,
    record: AccessRecord,
    o: CallOptions,
  ): Promise<void> {
    const principal = await authenticate(noteUser(this.#parts.verifier, record), credentials, o);
    describePrincipal(principal, record);
    if (wanted === undefined) return;
    const context = { service, address: credentials.connection.address };
    const [decision] = await this.#parts.policy.decide(principal, [wanted], context, o);
    if (decision?.rule !== undefined) record.rule = decision.rule;
    if (wanted.actions.some((action) => !decision?.granted.includes(action))) {
      throw new RegistryError('DENIED', { detail: { name: wanted.name }, reason: 'no rule allows it' });
    }
  }

  async #forward(
    request: ClientRequest,
    clientName: RepositoryName,
    { upstream, upstreamName }: Destination,
    o: CallOptions,
  ): Promise<RegistryResponse> {
    try {
      return await upstream.fetch(
        {
          method: request.method,
          operation: { ...request.operation, repository: upstreamName } as RegistryOperation,
          headers: forwardedHeaders(request),
          ...(request.body && { body: request.body }),
        },
        o,
      );
    } catch (error) {
      throw error instanceof RegistryError ? inClientsWords(error, upstreamName, clientName) : error;
    }
  }

  async #rewrite(
    { ns }: ClientRequest,
    operation: RegistryOperation & { kind: 'tags' | 'referrers' },
    response: RegistryResponse,
  ): Promise<ClientResponse> {
    const path =
      operation.kind === 'tags'
        ? `/v2/${operation.repository}/tags/list`
        : `/v2/${operation.repository}/referrers/${operation.digest}`;
    const { nextPage, body, ...rest } = response;
    const query = nextPage === undefined ? undefined : withNs(nextPage, ns);
    const link = query === undefined ? {} : { link: `<${path}?${query}>; rel="next"` };
    if (operation.kind === 'referrers' || body === undefined) {
      return { ...rest, ...(body && { body }), ...link };
    }
    const list = rewriteTagsList(await readList(body), operation.repository);
    const headers = new Map(response.headers);
    headers.set('content-type', 'application/json').set('content-length', String(list.length));
    headers.delete('content-encoding');
    headers.delete('etag');
    return { ...rest, headers, body: Readable.from([list]), ...link };
  }
}

function withNs(query: string, ns: string | undefined): string {
  return ns === undefined ? query : `${query}&ns=${encodeURIComponent(ns)}`;
}

/** Only a blob that is read has parts; which range of it is one, its upstream decides. */
function forwardedHeaders({ headers, operation, method }: ClientRequest): Headers {
  const inParts = operation.kind === 'blob' && method === 'GET';
  return new Map(
    [...headers].filter(
      ([name]) => requestHeaders.includes(name) && (inParts || (name !== 'range' && name !== 'if-range')),
    ),
  );
}

/** An upstream's refusal without the upstream's own repository name. */
function inClientsWords(error: RegistryError, upstreamName: string, clientName: string): RegistryError {
  return new RegistryError(error.code, {
    message: error.message.replaceAll(upstreamName, clientName),
    status: error.status,
    ...(error.code !== 'UNAVAILABLE' && { detail: { name: clientName } }),
    ...(error.reason !== undefined && { reason: error.reason }),
    ...(error.retryAfter !== undefined && { retryAfter: error.retryAfter }),
    cause: error.cause,
  });
}

function describePrincipal(principal: Principal, record: AccessRecord): void {
  record.principal = qualifiedName(principal);
  record.verifier = principal.verifier;
}

function describeOperation(
  operation: Exclude<RegistryOperation, { kind: 'ping' | 'catalog' }>,
  record: AccessRecord,
): void {
  if (operation.kind === 'manifest') record.reference = printReference(operation.reference);
  else if (operation.kind === 'blob' || operation.kind === 'referrers') record.reference = operation.digest;
  if (record.reference?.includes(':')) record.digest = record.reference;
}
