import type { IncomingMessage, ServerResponse } from 'node:http';

export interface AdminParts {
  readonly metrics: { print(): Promise<string>; readonly contentType: string };
  /** Undefined while requests are welcome; else why they are not, in a word or a line. */
  readonly unready: () => string | undefined | Promise<string | undefined>;
  /** What else there is to see, by its path: JSON. */
  readonly pages?: Readonly<Record<string, () => unknown>>;
}

const plainText = 'text/plain; charset=utf-8';

/** `/livez`: the process answers. `/readyz`: it takes requests; no upstream's health counts. `/metrics`: Prometheus. */
export function adminHandler({ metrics, unready, pages = {} }: AdminParts) {
  const paths = ['/livez', '/readyz', '/metrics', ...Object.keys(pages)];
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const send = (status: number, body: string, contentType = plainText) => {
      response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    if (request.method !== 'GET' && request.method !== 'HEAD') return send(405, 'method not allowed\n');
    if (path === '/livez') return send(200, 'ok\n');
    if (path === '/readyz') {
      const why = await unready();
      return send(why === undefined ? 200 : 503, `${why ?? 'ok'}\n`);
    }
    if (path === '/metrics') return send(200, await metrics.print(), metrics.contentType);
    const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
    if (page === undefined) return send(404, `not found: ${paths.join(', ')}\n`);
    send(200, `${JSON.stringify(await page())}\n`, 'application/json');
  };
}
