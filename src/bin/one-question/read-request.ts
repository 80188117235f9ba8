import { HelperError } from './helper-error.js';

/** Bytes of a request: a password and its server are far smaller. */
const maxRequest = 64 * 1024;

/** What a client asks for on standard input. @throws HelperError where it is too long */
export async function readRequest(input: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of input) {
    size += piece.length;
    if (size > maxRequest)
      throw new HelperError(`what stands on standard input is larger than ${maxRequest} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}
