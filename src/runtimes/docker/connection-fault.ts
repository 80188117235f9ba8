import { describeError, hasCode } from '../../errors.js';

const known: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'permission denied',
  ECONNRESET: 'it closed the connection',
  EPIPE: 'it closed the connection',
  UND_ERR_SOCKET: 'it closed the connection',
  UND_ERR_CONNECT_TIMEOUT: 'it takes no connection',
  UND_ERR_DESTROYED: 'the runtime is being closed',
  UND_ERR_CLOSED: 'the runtime is being closed',
};

/** Why the engine cannot be asked, in a few words. */
export function connectionFault(error: unknown): string {
  const code = Object.keys(known).find((one) => hasCode(error, one));
  return code === undefined ? describeError(error) : (known[code] ?? code);
}
