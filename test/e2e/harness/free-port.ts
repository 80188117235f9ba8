import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const lowest = 10_000;
const given = new Set<number>();

/**
 * A loopback port nobody listens on, for a program that must know it before it starts. It lies below those the
 * kernel hands out by itself, so no connection and no `listen(0)` of another test takes it in between.
 */
export async function freePort(host: '127.0.0.1' | '::1' = '127.0.0.1'): Promise<number> {
  const end = firstEphemeralPort();
  for (let attempts = 0; attempts < 100; attempts++) {
    const port = lowest + Math.floor(Math.random() * (end - lowest));
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(host, port)) return port;
  }
  throw new Error('no free port');
}

/** The lower end of `ip_local_port_range` (ip(7)). */
function firstEphemeralPort(): number {
  const first = Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10);
  return first > 2 * lowest ? first : 32_768;
}

async function isFree(host: string, port: number): Promise<boolean> {
  const server = createServer().listen(port, host);
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
