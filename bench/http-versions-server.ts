import { createHash, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Listener } from '../src/http/listener.js';
import { createAuthority } from '../src/testing/certificates.js';
import {
  authorization,
  blobSize,
  type FromServer,
  manifestSize,
  type Version,
} from './http-versions-load.js';

// The measured process: one handler behind HTTP/1.1 by our listener, or behind HTTP/2 by Node.

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

const piece = Buffer.alloc(65_536, 'x');
const manifest = Buffer.alloc(manifestSize, 'm');
const expected = createHash('sha256').update(authorization).digest();

async function handle(request: Request, response: Response): Promise<void> {
  const shown = createHash('sha256')
    .update(request.headers.authorization ?? '')
    .digest();
  const length = request.url === '/blob' ? blobSize : manifestSize;
  if (!timingSafeEqual(shown, expected)) {
    response.writeHead(401).end();
    return;
  }
  // Two calls that both know; their union has no common signature.
  const answer = response as ServerResponse;
  answer.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': length });
  if (length === manifestSize) {
    answer.end(manifest);
    return;
  }
  for (let sent = 0; sent < length; sent += piece.length) {
    if (!answer.write(piece)) await once(answer, 'drain');
  }
  answer.end();
}

async function listen(version: Version): Promise<number> {
  const { certificate, privateKey } = await createAuthority();
  if (version === 'HTTP/1.1') {
    const tls = { certificate, key: privateKey };
    const listener = await Listener.open({ host: '127.0.0.1', port: 0, tls, handle });
    return listener.address.port;
  }
  const server = createSecureServer({ cert: certificate, key: privateKey, allowHTTP1: true }, handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const tell = (message: FromServer) => process.send?.(message);

process.on('message', () => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  tell({ kind: 'usage', cpu: userCPUTime + systemCPUTime, peak: maxRSS * 1024 });
});
process.once('disconnect', () => process.exit());
tell({ kind: 'listening', port: await listen(process.argv[2] as Version) });
