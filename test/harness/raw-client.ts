import { connect } from 'node:net';

/** What came back over one connection. */
export interface RawAnswer {
  readonly bytes: Buffer;
  /** The whole messages among them. */
  readonly messages: readonly RawMessage[];
  /** How the connection ended; `open`: it did not within the time. */
  readonly end: 'closed' | 'reset' | 'open';
}

export interface RawMessage {
  readonly status: number;
  /** Lower-case names; of a repeated one the last. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/**
 * Sends bytes as they are, and reads until the server closes the connection.
 *
 * @param options.after sent once something came back
 * @param options.wait milliseconds for the server to close it
 * @param options.enough stops early with `open` once so many whole messages came
 */
export function sendRaw(
  port: number,
  bytes: string | Buffer,
  options: {
    readonly wait?: number;
    readonly enough?: number;
    readonly halfClose?: boolean;
    readonly after?: string;
  } = {},
): Promise<RawAnswer> {
  const { wait = 5_000, enough = Number.POSITIVE_INFINITY, halfClose = false, after } = options;
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const pieces: Buffer[] = [];
    let end: RawAnswer['end'] = 'open';
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      const all = Buffer.concat(pieces);
      resolve({ bytes: all, messages: parseMessages(all), end });
    };
    const timer = setTimeout(finish, wait);
    socket.on('data', (piece: Buffer) => {
      pieces.push(piece);
      if (parseMessages(Buffer.concat(pieces)).length >= enough) finish();
    });
    if (after !== undefined) socket.once('data', () => socket.write(Buffer.from(after, 'latin1')));
    socket.on('error', () => {
      end = 'reset';
    });
    socket.once('end', () => {
      end = 'closed';
    });
    socket.once('close', finish);
    socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    if (halfClose) socket.end();
  });
}

/** Parses answers that have a Content-Length (RFC 9112 section 6); what is not whole is left out. */
export function parseMessages(bytes: Buffer): readonly RawMessage[] {
  const messages: RawMessage[] = [];
  for (let at = 0; ; ) {
    const end = bytes.indexOf('\r\n\r\n', at);
    if (end < 0) return messages;
    const [first = '', ...lines] = bytes.subarray(at, end).toString('latin1').split('\r\n');
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1] ?? 0);
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
      }),
    );
    const length = status < 200 || status === 304 ? 0 : Number(headers.get('content-length') ?? 0);
    if (end + 4 + length > bytes.length) return messages;
    messages.push({ status, headers, body: bytes.subarray(end + 4, end + 4 + length).toString('utf8') });
    at = end + 4 + length;
  }
}
