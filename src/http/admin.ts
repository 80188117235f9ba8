import type { IncomingMessage, ServerResponse } from 'node:http';

export interface AdminParts {
  readonly metrics: { print(): Promise<string>; readonly contentType: string };
  /** True while requests are welcome. */
  readonly isReady: () => boolean;
}

/** `/livez`: the process answers. `/readyz`: it takes requests; no upstream's health counts. `/metrics`: Prometheus. */
export function adminHandler({ metrics, isReady }: AdminParts) {
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const send = (status: number, body: string, contentType = 'text/plain; charset=utf-8') => {
      response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    const path = (request.url ?? '').split('?', 1)[0];
    if (request.method !== 'GET' && request.method !== 'HEAD') send(405, 'method not allowed\n');
    else if (path === '/livez') send(200, 'ok\n');
    else if (path === '/readyz') send(isReady() ? 200 : 503, isReady() ? 'ok\n' : 'draining\n');
    else if (path === '/metrics') send(200, await metrics.print(), metrics.contentType);
    else send(404, 'not found: /livez, /readyz, /metrics\n');
  };
}
