import { Readable } from 'node:stream';
import {
  type CallOptions,
  type Clock,
  type Headers,
  type RegistryOperation,
  type RegistryResponse,
  requestHeaders,
} from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { ByteBudget } from '../protocol/byte-budget.js';
import type { Digest } from '../reference/digest.js';
import { printReference } from '../reference/reference.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { Scope } from '../reference/scope.js';
import type { Destination, RouteTable } from '../routing/route-table.js';
import { answerWrite } from './answer-write.js';
import { type Authority, type AuthorityParts, authorise } from './authorise.js';
import type { Catalog } from './catalog.js';
import type { AccessRecord, ClientRequest, ClientResponse } from './client-request.js';
import { withPassiveType } from './passive-type.js';
import { requiredScope } from './required-scope.js';
import { clientsTagsList } from './rewrite.js';
import { type UploadPlace, UploadSessions } from './upload-sessions.js';

type RepositoryOperation = Exclude<RegistryOperation, { kind: 'ping' | 'catalog' }>;

type Mount = NonNullable<Extract<RepositoryOperation, { kind: 'upload' }>['mount']>;

/** What a request names. */
interface Named extends Pick<ClientRequest, 'host' | 'ns'> {
  readonly repository: RepositoryName;
}

/** Where a name leads, or why it leads nowhere: the error to answer to whoever was let in. */
interface Found {
  readonly canonical: RepositoryName;
  readonly destination: Destination | RegistryError;
}

interface MountSource extends Found {
  readonly digest: Digest;
  readonly scope: Scope;
}

export interface RegistryServiceParts extends AuthorityParts {
  readonly routes: RouteTable;
  readonly clock: Clock;
  /** Absent: it is off. */
  readonly catalog?: Catalog;
}

/** A registry request: authorised under its canonical name, forwarded, and its answer made the client's again. */
export class RegistryService {
  readonly #parts: RegistryServiceParts;
  readonly #sessions: UploadSessions;
  readonly #lists = new ByteBudget('lists');

  constructor(parts: RegistryServiceParts) {
    this.#parts = parts;
    this.#sessions = new UploadSessions(parts.tokens, parts.clock);
  }

  /** @throws RegistryError */
  async handle(request: ClientRequest, record: AccessRecord, o: CallOptions): Promise<ClientResponse> {
    const { operation, method, host } = request;
    if (operation.kind === 'ping' || operation.kind === 'catalog') {
      return this.#withoutRepository(request, record, o);
    }
    const { canonical, destination } = this.#find({ ...request, repository: operation.repository });
    record.repository = canonical;
    describeOperation(operation, record);
    const wanted = requiredScope(method, operation, canonical);
    const source = this.#mountSource(request);
    record.wanted = [...(wanted ? [wanted] : []), ...(source ? [source.scope] : [])];
    record.action = wanted?.actions.join(',') ?? '';
    const authority = await authorise(this.#parts, request, wanted, record, o);
    if (destination instanceof RegistryError) throw destination;
    record.upstream = destination.upstreamId;
    record.upstreamRepository = destination.upstreamName;
    const place = { service: host.service, destination };
    const mount = source && (await mountFrom(source, destination, authority));
    const upstreamOperation = this.#atUpstream(operation, place, mount);
    const answered = await this.#forward(request, upstreamOperation, destination, o);
    const response = withPassiveType(answered, operation);
    if (response.cache !== undefined) record.cache = response.cache.result;
    if (source && mount && response.status === 201) record.mountedFrom = source.scope.name;
    const digest = response.headers.get('docker-content-digest');
    if (digest !== undefined) record.digest = digest;
    return this.#answer(request, response, place, o);
  }

  /** Why there is no destination is not for whoever was not let in: it tells which routes there are. */
  #find({ host, ns, repository }: Named): Found {
    const { routes } = this.#parts;
    let canonical = repository;
    try {
      if (ns !== undefined) canonical = routes.mirrored(host, ns, repository);
      const destination = routes.resolve(host, canonical);
      if (destination !== undefined) return { canonical: destination.canonical, destination };
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      return { canonical, destination: error };
    }
    const no = { detail: { name: repository }, reason: 'no route takes it' };
    return { canonical, destination: new RegistryError('NAME_UNKNOWN', no) };
  }

  async #withoutRepository(
    request: ClientRequest,
    record: AccessRecord,
    o: CallOptions,
  ): Promise<ClientResponse> {
    const wanted = requiredScope(request.method, request.operation, undefined);
    if (request.operation.kind === 'catalog') {
      record.action = '*';
      if (wanted !== undefined) record.wanted = [wanted];
      return this.#catalog(request, request.operation.page, wanted, record, o);
    }
    record.action = 'ping';
    await authorise(this.#parts, request, wanted, record, o);
    const body = Buffer.from('{}');
    const headers = new Map([
      ['content-type', 'application/json'],
      ['content-length', String(body.length)],
    ]);
    return { status: 200, headers, ...(request.method === 'GET' && { body: Readable.from([body]) }) };
  }

  /**
   * No rule grants the catalogue, for it shows everybody their own: a token must have been issued for it, with a
   * password being somebody is enough. So it is for being told that it is off.
   */
  async #catalog(
    request: ClientRequest,
    page: string,
    wanted: Scope | undefined,
    record: AccessRecord,
    o: CallOptions,
  ): Promise<ClientResponse> {
    const { catalog } = this.#parts;
    const { host, credentials } = request;
    const demanded = catalog !== undefined && credentials.shown.kind === 'bearer' ? wanted : undefined;
    const { principal } = await authorise(this.#parts, request, demanded, record, o);
    if (catalog === undefined) {
      throw new RegistryError('UNSUPPORTED', { message: 'the catalogue is switched off' });
    }
    const { address } = credentials.connection;
    return catalog.answer({ host, who: principal, address, page }, o);
  }

  /** Where a mount comes from, and what reading there needs. */
  #mountSource({ operation, host }: ClientRequest): MountSource | undefined {
    if (operation.kind !== 'upload' || operation.mount?.from === undefined) return undefined;
    const { digest, from } = operation.mount;
    const found = this.#find({ host, repository: from });
    return { ...found, digest, scope: { type: 'repository', name: found.canonical, actions: ['pull'] } };
  }

  /**
   * The operation in the upstream's names. Without a mount that is the client's to make, a POST opens an upload.
   */
  #atUpstream(
    operation: RepositoryOperation,
    place: UploadPlace,
    mount: Mount | undefined,
  ): RepositoryOperation {
    const repository = place.destination.upstreamName;
    if (operation.kind !== 'upload') return { ...operation, repository };
    const { session, digest } = operation;
    return {
      kind: 'upload',
      repository,
      ...(session !== undefined && { session: this.#sessions.open(session, place).href }),
      ...(digest !== undefined && { digest }),
      ...(mount && { mount }),
    };
  }

  async #forward(
    request: ClientRequest,
    operation: RepositoryOperation,
    { upstream, upstreamName }: Destination,
    o: CallOptions,
  ): Promise<RegistryResponse> {
    try {
      return await upstream.fetch(
        {
          method: request.method,
          operation,
          headers: forwardedHeaders(request),
          ...(request.body && { body: request.body }),
        },
        o,
      );
    } catch (error) {
      const clientName = 'repository' in request.operation ? request.operation.repository : upstreamName;
      throw error instanceof RegistryError ? inClientsWords(error, upstreamName, clientName) : error;
    }
  }

  #answer(
    request: ClientRequest,
    response: RegistryResponse,
    place: UploadPlace,
    o: CallOptions,
  ): ClientResponse | Promise<ClientResponse> {
    const { operation, method } = request;
    if (operation.kind === 'tags' || operation.kind === 'referrers') {
      return this.#rewrite(request, operation, response, o);
    }
    if (operation.kind === 'upload' || method === 'PUT') {
      return answerWrite(request, response, this.#sessions, place);
    }
    const { location, nextPage: _, ...rest } = response;
    return { ...rest, ...(location && { location: location.href }) };
  }

  async #rewrite(
    { ns }: ClientRequest,
    operation: RegistryOperation & { kind: 'tags' | 'referrers' },
    response: RegistryResponse,
    { signal }: CallOptions,
  ): Promise<ClientResponse> {
    const path =
      operation.kind === 'tags'
        ? `/v2/${operation.repository}/tags/list`
        : `/v2/${operation.repository}/referrers/${operation.digest}`;
    const { nextPage, body, location: _, ...rest } = response;
    const query = nextPage === undefined ? undefined : withNs(nextPage, ns);
    const link = query === undefined ? {} : { link: `<${path}?${query}>; rel="next"` };
    if (operation.kind === 'referrers' || body === undefined) {
      return { ...rest, ...(body && { body }), ...link };
    }
    const list = await clientsTagsList(body, operation.repository, { budget: this.#lists, signal });
    const headers = new Map(response.headers);
    headers.set('content-type', 'application/json').set('content-length', String(list.length));
    headers.delete('content-encoding');
    headers.delete('etag');
    return { ...rest, headers, body: list.body, ...link };
  }
}

/**
 * The mount in the upstream's names; undefined where the client may not read the source, or it is at another upstream.
 * One without a source would take a blob from anywhere our credential reaches.
 */
async function mountFrom(
  { digest, destination, scope }: MountSource,
  { upstreamId }: Destination,
  authority: Authority,
): Promise<Mount | undefined> {
  if (destination instanceof RegistryError || destination.upstreamId !== upstreamId) return undefined;
  if (!(await authority.allows(scope))) return undefined;
  return { digest, from: destination.upstreamName };
}

function withNs(query: string, ns: string | undefined): string {
  return ns === undefined ? query : `${query}&ns=${encodeURIComponent(ns)}`;
}

/** Only a blob that is read has parts; which range of it is one, its upstream decides. */
function forwardedHeaders({ headers, operation, method }: ClientRequest): Headers {
  const inParts = operation.kind === 'blob' && method === 'GET';
  const forwarded = new Map<string, string>();
  for (const name of requestHeaders) {
    const value = headers.get(name);
    if (value !== undefined && (inParts || (name !== 'range' && name !== 'if-range')))
      forwarded.set(name, value);
  }
  return forwarded;
}

/** A name where it stands by itself: `m` is a part of `manifest` as well. */
function wholeName(name: string): RegExp {
  return new RegExp(`(?<![\\w./-])${name.replaceAll('.', '\\.')}(?![\\w/-]|\\.\\w)`, 'g');
}

/** An upstream's refusal without the upstream's own repository name. */
function inClientsWords(error: RegistryError, upstreamName: string, clientName: string): RegistryError {
  return new RegistryError(error.code, {
    message: error.message.replace(wholeName(upstreamName), clientName),
    status: error.status,
    ...(error.code !== 'UNAVAILABLE' && { detail: { name: clientName } }),
    ...(error.reason !== undefined && { reason: error.reason }),
    ...(error.retryAfter !== undefined && { retryAfter: error.retryAfter }),
    ...(error.rateLimit !== undefined && { rateLimit: error.rateLimit }),
    cause: error.cause,
  });
}

function describeOperation(operation: RepositoryOperation, record: AccessRecord): void {
  if (operation.kind === 'upload') {
    const digest = operation.digest ?? operation.mount?.digest;
    if (digest !== undefined) record.digest = digest;
    return;
  }
  if (operation.kind === 'manifest') record.reference = printReference(operation.reference);
  else if (operation.kind === 'blob' || operation.kind === 'referrers') record.reference = operation.digest;
  if (record.reference?.includes(':')) record.digest = record.reference;
  else if (record.reference !== undefined) record.tag = record.reference;
}
