import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** In Linux's abstract namespace: no file, and gone with the process that holds it. */
const name = '\0docker-registry-proxy-e2e';

/**
 * Waits until no other test process of this machine holds the lock: daemons next to each other make a small machine
 * too slow for their own timeouts.
 *
 * @param timeout milliseconds
 */
export async function lockMachine(timeout: number): Promise<{ release(): void }> {
  const end = Date.now() + timeout;
  for (;;) {
    const server = await tryToListen();
    if (server) return { release: () => void server.close() };
    if (Date.now() >= end) throw new Error('another run of the end-to-end tests does not end');
    await sleep(200);
  }
}

async function tryToListen(): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  try {
    await once(server.listen(name), 'listening');
    return server.unref();
  } catch {
    return undefined;
  }
}
