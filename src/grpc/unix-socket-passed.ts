import { once } from 'node:events';
import { fstat } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import type { Server } from 'node:net';
import { promisify } from 'node:util';
import { firstPassedFd } from '../settings/socket-text.js';

export interface PassedSocket {
  /** Absent where the system does not tell. */
  readonly path?: string;
  /** Permission bits of the socket's file; absent where its path is not known, or nothing is there. */
  readonly mode?: number;
}

/**
 * Listens at a unix socket that was handed over open, by systemd's socket activation.
 *
 * @throws an Error with a one-line message
 */
export async function listenAtPassed(
  server: Server,
  fd: number,
  environment: NodeJS.ProcessEnv,
): Promise<PassedSocket> {
  const missing = whyMissing(fd, environment);
  if (missing !== undefined) throw new Error(`no socket was handed over: ${missing}`);
  const inode = await inodeOf(fd);
  server.listen({ fd });
  await once(server, 'listening').catch((error: NodeJS.ErrnoException) => {
    throw new Error(`the socket that was handed over cannot be used: ${error.code ?? error.message}`);
  });
  // Of a unix socket Node tells nothing here.
  if (typeof server.address() === 'object' && server.address() !== null) {
    server.close();
    throw new Error(
      'the socket that was handed over is no unix socket: use ListenStream=/a/path in the unit',
    );
  }
  const path = await pathOf(inode);
  if (path === undefined) return {};
  const mode = await stat(path).then(
    (file) => file.mode & 0o777,
    () => undefined,
  );
  return { path, ...(mode !== undefined && { mode }) };
}

function whyMissing(fd: number, { LISTEN_PID, LISTEN_FDS }: NodeJS.ProcessEnv): string | undefined {
  if (LISTEN_FDS === undefined)
    return 'LISTEN_FDS is not set; fd:// is for a service that a systemd socket starts';
  if (LISTEN_PID !== undefined && Number(LISTEN_PID) !== process.pid) {
    return `LISTEN_PID names another process (${Number(LISTEN_PID)}) than this one (${process.pid})`;
  }
  const count = /^\d{1,4}$/.test(LISTEN_FDS) ? Number(LISTEN_FDS) : 0;
  if (fd >= firstPassedFd + count) return `LISTEN_FDS is ${count}, which does not reach fd://${fd}`;
  return undefined;
}

/** @returns as /proc/net/unix has it */
async function inodeOf(fd: number): Promise<string> {
  const file = await promisify(fstat)(fd).catch(() => undefined);
  if (file?.isSocket()) return String(file.ino);
  throw new Error(`no socket was handed over: file descriptor ${fd} is ${file ? 'none' : 'not open'}`);
}

/** Node does not tell: uv_pipe_getsockname is not within reach. Linux does, in proc_pid_net(5). */
async function pathOf(inode: string): Promise<string | undefined> {
  const text = await readFile('/proc/self/net/unix', 'utf8').catch(() => '');
  for (const line of text.split('\n')) {
    const [, found, path] = /^\S+ \S+ \S+ \S+ \S+ \S+ +(\d+) (\/.*)$/.exec(line) ?? [];
    if (found === inode) return path;
  }
  return undefined;
}
