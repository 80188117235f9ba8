import { once } from 'node:events';
import { createServer } from 'node:net';

/** A loopback port nobody listens on. Another program may take it before it is used: rare enough for tests. */
export async function freePort(host: '127.0.0.1' | '::1' = '127.0.0.1'): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
