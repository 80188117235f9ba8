import { createHash } from 'node:crypto';
import { type Digest, digestOf } from '../reference/digest.js';

/** The bytes of a blob, in memory or generated while they are read. */
export interface BlobContent {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** The bytes from `start` to `end`, both included, in pieces; the whole without them. */
  read(start?: number, end?: number): Iterable<Buffer>;
}

const pieceSize = 64 * 1024;

/** A blob held in memory. */
export function contentOf(bytes: Uint8Array, digest: Digest = digestOf(bytes)): BlobContent {
  return { digest, size: bytes.length, read: (start, end) => slices(bytes, start, end) };
}

function* slices(bytes: Uint8Array, start = 0, end = bytes.length - 1): Generator<Buffer> {
  for (let at = start; at <= end; at += pieceSize) {
    const length = Math.min(pieceSize, end + 1 - at);
    yield Buffer.from(bytes.buffer, bytes.byteOffset + at, length);
  }
}

/** Something that can be read from any place; a part of a blob. */
interface Part {
  readonly size: number;
  read(start?: number, end?: number): Iterable<Buffer>;
}

/**
 * Pseudo-random bytes that depend on `seed` and the position only: a block of noise, repeated, with its number in its
 * first bytes, so that lost, doubled or swapped pieces change the digest.
 */
export function noise(size: number, seed = 1): Part {
  const block = noiseBlock(seed);
  return { size, read: (start, end) => noisePieces(block, size, start, end) };
}

function* noisePieces(block: Buffer, size: number, start = 0, end = size - 1): Generator<Buffer> {
  let at = start;
  while (at <= end) {
    const number = Math.floor(at / pieceSize);
    const offset = at % pieceSize;
    const piece = Buffer.from(block);
    piece.writeDoubleLE(number, 0);
    const taken = piece.subarray(offset, Math.min(pieceSize, offset + end + 1 - at));
    yield taken;
    at += taken.length;
  }
}

/** xorshift32: fast, and the same everywhere. */
function noiseBlock(seed: number): Buffer {
  const block = Buffer.alloc(pieceSize);
  let state = (seed * 2_654_435_761 + 1) >>> 0 || 1;
  for (let i = 0; i < pieceSize; i += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    block.writeUInt32LE(state >>> 0, i);
  }
  return block;
}

/** Parts, one after the other, as one blob; read once to learn its digest, never held. */
export async function contentOfParts(parts: readonly (Part | Uint8Array)[]): Promise<BlobContent> {
  const all = parts.map((part) => (part instanceof Uint8Array ? contentOf(part) : part));
  const size = all.reduce((sum, part) => sum + part.size, 0);
  const read = (start = 0, end = size - 1) => partPieces(all, start, end);
  return { digest: await digestOfPieces(read()), size, read };
}

function* partPieces(parts: readonly Part[], start: number, end: number): Generator<Buffer> {
  let offset = 0;
  for (const part of parts) {
    const first = Math.max(start - offset, 0);
    const last = Math.min(end - offset, part.size - 1);
    if (first <= last) yield* part.read(first, last);
    offset += part.size;
  }
}

async function digestOfPieces(pieces: Iterable<Buffer>): Promise<Digest> {
  const hash = createHash('sha256');
  let sinceYield = 0;
  for (const piece of pieces) {
    hash.update(piece);
    sinceYield += piece.length;
    if (sinceYield < 16 * 1024 * 1024) continue;
    sinceYield = 0;
    await new Promise((resolve) => setImmediate(resolve)); // servers of the same process go on answering
  }
  return `sha256:${hash.digest('hex')}` as Digest;
}

const generated = new Map<string, Promise<BlobContent>>();

/** A blob of `size` bytes of noise, also of gigabytes: nothing of it is held in memory. */
export function generatedBlob(size: number, seed = 1): Promise<BlobContent> {
  const key = `${size} ${seed}`;
  const known = generated.get(key) ?? contentOfParts([noise(size, seed)]);
  generated.set(key, known);
  return known;
}

/** The bytes of a small blob, for comparing. */
export function bytesOf(content: BlobContent): Buffer {
  return Buffer.concat([...content.read()]);
}
