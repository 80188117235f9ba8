import { RuntimeError } from '../../contracts/runtime.js';
import { parseJsonObject } from '../../protocol/json-object.js';

/** Bytes. The engine's lines are short; one with an error may hold a whole page of a proxy's. */
const maxLine = 1024 * 1024;
const newline = 0x0a;

/**
 * The objects of a stream of JSON lines, wherever its chunks begin and end. A last line needs no end.
 *
 * @throws RuntimeError `failed` where a line is no object, or is longer than 1 MiB; what the body fails with
 */
export async function* jsonLines(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<Readonly<Record<string, unknown>>> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  const take = (piece: Uint8Array) => {
    length += piece.length;
    if (length > maxLine)
      throw new RuntimeError('failed', 'the Docker Engine sent a line of more than 1 MiB');
    pieces.push(piece);
  };
  const line = () => {
    const text = Buffer.concat(pieces).toString('utf8').trim();
    pieces = [];
    length = 0;
    return text === '' ? undefined : parseLine(text);
  };
  for await (const chunk of body) {
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      take(chunk.subarray(start, end));
      start = end + 1;
      const parsed = line();
      if (parsed) yield parsed;
    }
    take(chunk.subarray(start));
  }
  const last = line();
  if (last) yield last;
}

function parseLine(text: string): Readonly<Record<string, unknown>> {
  const parsed = parseJsonObject(text);
  // Without the text: it may quote a signed URL.
  if (!parsed) throw new RuntimeError('failed', 'the Docker Engine sent a line that is no JSON object');
  return parsed;
}
