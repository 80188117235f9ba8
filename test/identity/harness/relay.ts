import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

/** Stands between a verifier and a server, to be cut, and to see what is sent. */
export interface Relay {
  /** As the server's, with another port. */
  readonly url: string;
  /** How many there have been. */
  connections(): number;
  /** How many there are. */
  open(): number;
  /** Everything clients have sent. */
  sent(): string;
  /** Ends all connections, and goes on taking new ones. */
  cut(): void;
  /** From now on nothing goes through, and nothing ends. */
  freeze(): void;
  /** Goes on with new connections; those of before are cut, for what was sent on them meanwhile is lost. */
  thaw(): void;
  /** Nobody listens any more. A second call does nothing. */
  close(): Promise<void>;
}

/** Passes bytes between loopback sockets; closed after the test. */
export async function startRelay(t: TestContext, target: string): Promise<Relay> {
  const { protocol, hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const received: Buffer[] = [];
  let connections = 0;
  let isFrozen = false;
  const server = createServer((client) => {
    connections++;
    const upstream = connect(Number(port), hostname);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('data', (chunk) => {
        if (from === client) received.push(chunk);
        if (!isFrozen) to.write(chunk);
      });
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const close = async () => {
    cut();
    if (!server.listening) return;
    server.close();
    await once(server, 'close');
  };
  t.after(close);
  return {
    url: `${protocol}//127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    open: () => sockets.size / 2,
    sent: () => Buffer.concat(received).toString('latin1'),
    cut,
    freeze: () => {
      isFrozen = true;
    },
    thaw: () => {
      cut();
      isFrozen = false;
    },
    close,
  };
}
