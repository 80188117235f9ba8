import { randomUUID } from 'node:crypto';
import { RegistryError } from '../errors.js';
import { digestAlgorithm, digestOf, isComputable, isDigest, parseDigest } from '../reference/digest.js';
import { isRepositoryName, type RepositoryName } from '../reference/repository-name.js';
import type { Scope } from '../reference/scope.js';
import { type Answer, type Exchange, readBody } from './answer.js';
import { contentOf } from './blob-content.js';
import type { MemoryStore } from './memory-store.js';

export interface UploadSettings {
  readonly store: MemoryStore;
  /** How `Location` is written: `outside` is Artifact Registry's, relative and not below `/v2`. */
  readonly location: 'relative' | 'absolute' | 'outside';
  /** The registry's own `http://host:port`. */
  readonly origin: () => string;
  /** False: a second PATCH of a session is refused, as Artifact Registry does. */
  readonly chunked: boolean;
  /** Sent as `OCI-Chunk-Min-Length`, bytes. */
  readonly minimumChunk?: number;
  /** Whether the request may read where a mount comes from. */
  readonly allows: (scope: Scope) => boolean;
}

interface Session {
  readonly id: string;
  readonly repository: string;
  /** Must come back in the query, as distribution's `_state` must. */
  readonly state: string;
  readonly pieces: Buffer[];
  size: number;
  patches: number;
}

/** OCI distribution-spec v1.1, "Pushing Blobs": sessions in memory. */
export class Uploads {
  readonly #sessions = new Map<string, Session>();

  /** Sessions that were neither finished nor cancelled. */
  get open(): number {
    return this.#sessions.size;
  }

  /** POST: opens a session, or puts or mounts a blob at once. */
  async start(exchange: Exchange, repository: RepositoryName, settings: UploadSettings): Promise<Answer> {
    if (exchange.method !== 'POST') throw new RegistryError('UNSUPPORTED');
    const query = exchange.url.searchParams;
    const mount = query.get('mount');
    if (mount !== null && tryMount(repository, mount, query.get('from') ?? '', settings)) {
      return created(repository, mount);
    }
    const session: Session = {
      id: randomUUID(),
      repository,
      state: randomUUID(),
      pieces: [],
      size: 0,
      patches: 0,
    };
    const digest = mount === null ? query.get('digest') : null;
    if (digest !== null) {
      await append(exchange, session);
      return finish(session, digest, settings.store);
    }
    this.#sessions.set(session.id, session);
    return accepted(session, settings);
  }

  /** GET, PATCH, PUT and DELETE of a session. */
  async continue(
    exchange: Exchange,
    repository: string,
    id: string,
    settings: UploadSettings,
  ): Promise<Answer> {
    const session = this.#sessions.get(id);
    if (!session || session.repository !== repository) throw new RegistryError('BLOB_UPLOAD_UNKNOWN');
    if (exchange.url.searchParams.get('_state') !== session.state) {
      throw new RegistryError('BLOB_UPLOAD_INVALID', { message: 'the session lost its state' });
    }
    switch (exchange.method) {
      case 'GET':
        return { ...accepted(session, settings), status: 204 };
      case 'PATCH':
        if (!settings.chunked && session.patches > 0) throw new RegistryError('UNSUPPORTED');
        session.patches++;
        await append(exchange, session);
        return accepted(session, settings);
      case 'PUT': {
        const digest = parseDigest(exchange.url.searchParams.get('digest') ?? '');
        await append(exchange, session);
        const answer = finish(session, digest, settings.store);
        this.#sessions.delete(id);
        return answer;
      }
      case 'DELETE':
        this.#sessions.delete(id);
        return { status: 204 };
      default:
        throw new RegistryError('UNSUPPORTED');
    }
  }
}

function tryMount(repository: string, digest: string, from: string, settings: UploadSettings): boolean {
  if (!isDigest(digest) || !isRepositoryName(from)) return false;
  if (!settings.allows({ type: 'repository', name: from, actions: ['pull'] })) return false;
  const content = settings.store.blob(from, digest);
  if (!content) return false;
  settings.store.putBlob(repository, content);
  return true;
}

/** @throws RegistryError RANGE_INVALID, SIZE_INVALID */
async function append(exchange: Exchange, session: Session): Promise<void> {
  const header = exchange.request.headers['content-range'];
  const before = session.size;
  const match = header === undefined ? undefined : /^(?:bytes )?(\d+)-(\d+)$/.exec(header);
  if (header !== undefined && (!match || Number(match[1]) !== before))
    throw new RegistryError('RANGE_INVALID');
  await readBody(exchange, (piece) => {
    session.pieces.push(piece);
    session.size += piece.length;
  });
  if (match && session.size - before !== Number(match[2]) - Number(match[1]) + 1) {
    throw new RegistryError('SIZE_INVALID');
  }
}

/** @throws RegistryError DIGEST_INVALID */
function finish(session: Session, text: string, store: MemoryStore): Answer {
  const digest = parseDigest(text);
  const bytes = Buffer.concat(session.pieces);
  if (!isComputable(digest) || digestOf(bytes, digestAlgorithm(digest)) !== digest) {
    throw new RegistryError('DIGEST_INVALID');
  }
  store.putBlob(session.repository, contentOf(bytes, digest));
  return created(session.repository, digest);
}

function created(repository: string, digest: string): Answer {
  return {
    status: 201,
    headers: { location: `/v2/${repository}/blobs/${digest}`, 'docker-content-digest': digest },
  };
}

function accepted(session: Session, settings: UploadSettings): Answer {
  const { id, repository, state, size } = session;
  const path =
    settings.location === 'outside'
      ? `/artifacts-uploads/${repository}/uploads/${id}`
      : `/v2/${repository}/blobs/uploads/${id}`;
  const origin = settings.location === 'absolute' ? settings.origin() : '';
  return {
    status: 202,
    headers: {
      location: `${origin}${path}?_state=${state}`,
      range: `0-${Math.max(size - 1, 0)}`,
      'docker-upload-uuid': id,
      ...(settings.minimumChunk !== undefined && { 'oci-chunk-min-length': String(settings.minimumChunk) }),
    },
  };
}
