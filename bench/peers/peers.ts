import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startDockerRegistry } from '../../test/e2e/harness/docker-registry.js';
import { freePort } from '../../test/e2e/harness/free-port.js';
import { startPlainFront } from '../../test/e2e/harness/plain-front.js';
import { accepts, startProgram } from '../../test/e2e/harness/program.js';
import { openWorkspace, type Workspace } from '../../test/e2e/harness/workspace.js';
import type { Origin } from '../origin.js';

/**
 * `direct` is the registry itself, `distribution` Debian's docker-registry as a pull-through cache, `workers` ours with
 * two of them.
 */
export type PeerName = 'direct' | 'nginx' | 'Go' | 'distribution' | 'ours' | 'workers';

export interface TokenRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Something that stands before the origin, and what a request through it has to show. */
export interface Peer {
  readonly name: PeerName;
  readonly port: number;
  readonly pid: number;
  headers(): Promise<Readonly<Record<string, string>>>;
  /** @throws an Error where it issues none */
  tokenRequest(): Promise<TokenRequest>;
}

const open = {
  headers: async () => ({}),
  tokenRequest: () => Promise.reject(new Error('no tokens here')),
};

/** @param cache settings of our own cache, where there is to be one */
export async function startPeer(
  name: PeerName,
  workspace: Workspace,
  origin: Origin,
  cache?: object,
): Promise<Peer> {
  switch (name) {
    case 'direct':
      return { name, ...open, port: origin.port, pid: origin.pid };
    case 'nginx':
      return nginx(workspace, origin);
    case 'Go':
      return goReverseProxy(workspace, origin);
    case 'distribution':
      return distribution(workspace, origin);
    case 'ours':
      return ours(name, workspace, origin, cache);
    case 'workers':
      return ours(name, workspace, origin, cache, { workers: 2 });
  }
}

/** nginx as it is mostly set up for registries: kept connections, bodies passed on as they come. */
async function nginx(workspace: Workspace, origin: Origin): Promise<Peer> {
  const port = await freePort();
  const directory = workspace.path('nginx');
  mkdirSync(directory, { recursive: true });
  const isTls = origin.url.startsWith('https:');
  const configuration = workspace.file(
    'nginx/nginx.conf',
    `daemon off;
user root;
worker_processes 1;
pid ${directory}/pid;
error_log ${directory}/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  upstream origin { server 127.0.0.1:${origin.port}; keepalive 64; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:${port};
    keepalive_requests 1000000;
    location / {
      proxy_pass ${isTls ? 'https' : 'http'}://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host localhost:${origin.port};
      proxy_buffer_size 64k;
      proxy_buffers 16 64k;
      proxy_busy_buffers_size 128k;
      proxy_max_temp_file_size 0;
      ${isTls ? `proxy_ssl_trusted_certificate ${origin.authority}; proxy_ssl_verify on; proxy_ssl_name localhost;` : ''}
    }
  }
}
`,
  );
  const args = ['-c', configuration, '-p', directory];
  const { pid } = await startProgram(workspace, {
    command: 'nginx',
    args,
    ready: () => accepts(`127.0.0.1:${port}`),
  });
  return { name: 'nginx', ...open, port, pid };
}

/** Go's `httputil.ReverseProxy`, with one thread for Go code as the other peers have. */
async function goReverseProxy(workspace: Workspace, origin: Origin): Promise<Peer> {
  const command = build(workspace);
  const port = await freePort();
  const args = [
    `127.0.0.1:${port}`,
    origin.url,
    ...(origin.authority === undefined ? [] : [origin.authority]),
  ];
  const env = { GOMAXPROCS: '1' };
  const { pid } = await startProgram(workspace, {
    command,
    args,
    env,
    ready: () => accepts(`127.0.0.1:${port}`),
  });
  return { name: 'Go', ...open, port, pid };
}

function build(workspace: Workspace): string {
  const binary = workspace.path('reverse-proxy');
  const source = fileURLToPath(new URL('reverse-proxy.go', import.meta.url));
  const env = workspace.environment({
    GOCACHE: workspace.path('go-cache'),
    GO111MODULE: 'off',
    GOFLAGS: '-p=2',
  });
  const { status, stderr } = spawnSync('go', ['build', '-o', binary, source], { env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`go build: ${stderr}`);
  return binary;
}

/** Quiet, as it would be in production: a line for each request is half of what a small one costs it. */
async function distribution(workspace: Workspace, origin: Origin): Promise<Peer> {
  const more = { log: { level: 'error', accesslog: { disabled: true } }, proxy: { remoteurl: origin.url } };
  const { host, pid } = await startDockerRegistry(workspace, { kind: 'open' }, undefined, more);
  return { name: 'distribution', ...open, port: Number(host.split(':')[1]), pid };
}

/** Ours, as built, with a password verified, a policy asked, and a line in the access log for each request. */
async function ours(
  name: PeerName,
  workspace: Workspace,
  origin: Origin,
  cache?: object,
  more: object = {},
): Promise<Peer> {
  // Two of them must not have one configuration.
  const own = await openWorkspace('waiting');
  workspace.onClose(() => own.close());
  const tls = origin.authority === undefined ? {} : { ca: origin.authority };
  const kept = cache && { cache: { path: own.path('cache'), maxSize: '2GB', ...cache } };
  const { proxy, password } = await startPlainFront(
    own,
    { url: origin.url, ...tls, ...kept },
    { token: { ttl: '1h', keys: { directory: 'keys' } }, ...more },
  );
  const query = new URLSearchParams({
    service: new URL(proxy.url).host,
    scope: 'repository:team/app:pull',
  });
  const path = `/token?${query}`;
  const authorization = `Basic ${Buffer.from(`alice:${password}`).toString('base64')}`;
  const headers = async () => {
    const answer = await fetch(`${proxy.url}${path}`, { headers: { authorization } });
    const { token } = (await answer.json()) as { token: string };
    return { authorization: `Bearer ${token}` };
  };
  return {
    name,
    port: Number(new URL(proxy.url).port),
    pid: proxy.pid(),
    headers,
    tokenRequest: async () => ({ path, headers: { authorization } }),
  };
}
