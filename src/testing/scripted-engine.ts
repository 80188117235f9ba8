import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What an engine was asked. */
export interface EngineRequest {
  readonly method: string;
  /** Without the version, decoded: `/images/a/b:1/json`. */
  readonly path: string;
  /** `1.41`; undefined where the path has none. */
  readonly version: string | undefined;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage['headers'];
}

/** A status and a value in JSON, or whatever is to be done with the response. */
export type EngineReply =
  | readonly [status: number, json: unknown]
  | ((response: ServerResponse, request: IncomingMessage) => unknown);

/**
 * A Docker Engine on a unix socket, whose answers a test writes. It speaks the versions it is told to, and refuses all
 * others as the engine does.
 */
export class ScriptedEngine {
  readonly requests: EngineRequest[] = [];
  readonly directory: string;
  /** Of the socket. */
  readonly path: string;
  /** Of `GET /version`. */
  versions: { readonly ApiVersion?: string; readonly MinAPIVersion?: string } = {
    ApiVersion: '1.41',
    MinAPIVersion: '1.12',
  };
  /** By `METHOD /path`; what is not there is a 404. */
  readonly replies = new Map<string, EngineReply>();
  #server: Server | undefined;

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), 'engine-'));
    this.path = join(this.directory, 'docker.sock');
  }

  /** Listens; also again, at another socket in the same place. */
  async listen(): Promise<this> {
    rmSync(this.path, { force: true });
    const server = createServer((request, response) => this.#answer(request, response));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
    return this;
  }

  /** Cuts all connections. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    await new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** The requests so far, as `METHOD /path`, without those for the version. */
  get asked(): readonly string[] {
    return this.requests
      .filter(({ path }) => path !== '/version')
      .map(({ method, path }) => `${method} ${path}`);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://docker');
    const [, version, path = ''] = /^(?:\/v(\d+\.\d+))?(\/.*)$/.exec(decodeURIComponent(url.pathname)) ?? [];
    const { method = '', headers } = request;
    this.requests.push({ method, path, version, query: Object.fromEntries(url.searchParams), headers });
    const reply = this.#refusal(version) ?? this.replies.get(`${method} ${path}`) ?? this.#usual(path);
    if (typeof reply === 'function') reply(response, request);
    else response.writeHead(reply[0], { 'content-type': 'application/json' }).end(JSON.stringify(reply[1]));
  }

  #usual(path: string): EngineReply {
    if (path === '/_ping') return [200, 'OK'];
    return path === '/version' ? [200, this.versions] : [404, { message: `No such image: ${path}` }];
  }

  #refusal(version: string | undefined): EngineReply | undefined {
    const minor = (text: string | undefined) => Number(text?.split('.')[1] ?? Number.NaN);
    const { ApiVersion, MinAPIVersion } = this.versions;
    if (minor(version) > minor(ApiVersion)) {
      const message = `client version ${version} is too new. Maximum supported API version is ${ApiVersion}`;
      return [400, { message }];
    }
    if (minor(version) < minor(MinAPIVersion)) {
      const message = `client version ${version} is too old. Minimum supported API version is ${MinAPIVersion}, please upgrade your client to a newer version`;
      return [400, { message }];
    }
    return undefined;
  }
}
