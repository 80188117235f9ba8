import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import type {
  Credential,
  CredentialSource,
  Labels,
  RegistryMethod,
  RegistryOperation,
  RegistryResponse,
  Upstream,
} from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseDigest } from '../reference/digest.js';
import { parseReference } from '../reference/reference.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { Secret } from '../secret.js';
import { driver } from './registry.js';

// What the tests of this folder share: an upstream opened through its driver, and what can be asked of it.

export interface Opened {
  readonly upstream: Upstream;
  /** Everything that was logged, as text. */
  readonly logged: string[];
  /** Counts by `name{label=value}`. */
  readonly counts: Map<string, number>;
  fetch(method: RegistryMethod, operation: RegistryOperation, o?: FetchOptions): Promise<RegistryResponse>;
}

export interface FetchOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  readonly body?: Readable;
}

export interface Settings {
  readonly credentials?: CredentialSource;
  readonly clock?: { now(): number };
  readonly [setting: string]: unknown;
}

export async function openUpstream(t: TestContext, url: string, settings: Settings = {}): Promise<Opened> {
  const { credentials = sourceOf(), clock = { now: () => Date.now() }, ...config } = settings;
  const logged: string[] = [];
  const counts = new Map<string, number>();
  const log = (fields: unknown, message: string) => {
    logged.push(`${message} ${JSON.stringify(fields)}`);
  };
  const upstream = await driver.open(driver.config.parse({ url, ...config }), {
    id: 'test',
    baseDirectory: '/',
    clock,
    credentials,
    log: { debug: log, info: log, warn: log, error: log },
    metrics: {
      counter: (name) => ({ add: (labels) => count(counts, name, labels) }),
      gauge: () => ({ set: () => {}, follow: () => () => {} }),
      histogram: () => ({ observe: () => {} }),
    },
  });
  t.after(() => upstream.close());
  return {
    upstream,
    logged,
    counts,
    fetch: (method, operation, { headers = {}, signal = AbortSignal.timeout(20_000), body } = {}) =>
      upstream.fetch(
        { method, operation, headers: new Map(Object.entries(headers)), ...(body && { body }) },
        { signal },
      ),
  };
}

function count(counts: Map<string, number>, name: string, labels: Labels = {}): void {
  const shown = Object.entries(labels).filter(([label]) => label !== 'upstream');
  const key = `${name}{${shown.map(([label, value]) => `${label}=${value}`).join(',')}}`;
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** Gives these credentials, each until it is refused. */
export function sourceOf(...credentials: readonly Credential[]): CredentialSource & { rejections: number } {
  let at = 0;
  return {
    rejections: 0,
    async credentialFor(_repository, o) {
      if (o.rejected !== undefined) {
        this.rejections++;
        at = Math.min(at + 1, credentials.length - 1);
      }
      return credentials[at];
    },
    close: async () => {},
  };
}

export function password(username: string, text: string): Credential {
  return { kind: 'basic', username, password: new Secret(text) };
}

export const operations = {
  ping: { kind: 'ping' } as const,
  manifest: (repository: string, reference: string): RegistryOperation => ({
    kind: 'manifest',
    repository: parseRepositoryName(repository),
    reference: parseReference(reference),
  }),
  blob: (repository: string, digest: string): RegistryOperation => ({
    kind: 'blob',
    repository: parseRepositoryName(repository),
    digest: parseDigest(digest),
  }),
  tags: (repository: string, page = ''): RegistryOperation => ({
    kind: 'tags',
    repository: parseRepositoryName(repository),
    page,
  }),
  upload: (repository: string, more: Partial<UploadOperation> = {}): UploadOperation => ({
    ...more,
    kind: 'upload',
    repository: parseRepositoryName(repository),
  }),
};

type UploadOperation = Extract<RegistryOperation, { kind: 'upload' }>;

export async function bytesOfBody(response: RegistryResponse): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response.body ?? []) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}

/** For `assert.rejects`. */
export function failsWith(code: string, reason?: RegExp) {
  return (error: unknown) =>
    error instanceof RegistryError &&
    error.code === code &&
    (reason === undefined || reason.test(error.reason ?? ''));
}
