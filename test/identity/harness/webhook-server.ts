import {
  type LoopbackServer,
  startLoopbackServer,
  type TlsFiles,
} from '../../../src/testing/loopback-server.js';
import type { Scope } from '../../harness/scope.js';

/** Somebody the webhook knows; with `*` for a name whoever shows the secret as a bearer token. */
export interface WebhookUser {
  readonly secret: string;
  /** As TokenReview's `status.user`. */
  readonly user: {
    readonly username: string;
    readonly uid?: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
}

/** A TokenReview as it was sent. */
export interface SentReview {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
  readonly spec: { readonly token: string; readonly audiences?: readonly string[] };
}

/** A webhook that judges TokenReviews, on the loopback interface. */
export interface WebhookServer {
  readonly url: string;
  /** By the name that is shown. */
  readonly users: Map<string, WebhookUser>;
  /** Of all requests it took. */
  readonly reviews: readonly SentReview[];
  /** False: as webhooks that do not look at audiences. */
  knowsAudiences: boolean;
  stop(): Promise<void>;
  /** On the same port. */
  restart(): Promise<void>;
}

interface WebhookOptions {
  readonly users: Readonly<Record<string, WebhookUser>>;
  /** What it wants to be called with; everybody else gets 401. */
  readonly token?: string;
  /** Whom it judges for. */
  readonly audiences?: readonly string[];
  readonly tls?: TlsFiles;
}

/** Starts it; the scope stops it. */
export async function startWebhook(scope: Scope, options: WebhookOptions): Promise<WebhookServer> {
  const reviews: SentReview[] = [];
  const tls = options.tls && { tls: options.tls };
  const state = { users: new Map(Object.entries(options.users)), reviews, knowsAudiences: true };
  const listener: Parameters<typeof startLoopbackServer>[0] = (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method, headers } = request;
      const isKnown = options.token === undefined || headers.authorization === `Bearer ${options.token}`;
      if (method !== 'POST' || headers['content-type'] !== 'application/json' || !isKnown) {
        response.writeHead(isKnown ? 415 : 401).end();
        return;
      }
      const review = JSON.parse(Buffer.concat(chunks).toString('utf8')) as SentReview;
      reviews.push(review);
      const { apiVersion, kind } = review;
      const status = statusOf(review, state, options.audiences ?? []);
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ apiVersion, kind, status }));
    });
  };
  let server: LoopbackServer = await startLoopbackServer(listener, { ...tls });
  scope.after(() => server.close());
  const { port } = new URL(server.url);
  return Object.assign(state, {
    url: `${server.url.replace('127.0.0.1', options.tls ? 'localhost' : '127.0.0.1')}/token-review`,
    stop: () => server.close(),
    restart: async () => {
      server = await startLoopbackServer(listener, { ...tls, port: Number(port) });
    },
  });
}

function statusOf(
  { metadata, spec }: SentReview,
  { users, knowsAudiences }: Pick<WebhookServer, 'users' | 'knowsAudiences'>,
  own: readonly string[],
): object {
  const known = users.get(metadata.annotations['docker-registry-proxy/username'] ?? '*');
  if (known?.secret !== spec.token) return { authenticated: false, error: 'no such user and password' };
  const audiences = knowsAudiences ? spec.audiences?.filter((one) => own.includes(one)) : undefined;
  return { authenticated: true, user: known.user, ...(audiences && { audiences }) };
}
