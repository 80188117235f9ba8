import { createHash } from 'node:crypto';
import { pipeline, type Readable, Transform } from 'node:stream';
import { type Digest, digestAlgorithm } from '../reference/digest.js';

const noop = () => {};
/** What is read away from an answer nobody wants, to keep its connection: bytes, and milliseconds. */
const drainLimit = 64 * 1024;
const drainTime = 5_000;

/** Lets go of a body. A short one is read away, so that its connection serves again; a long one is cut. */
export function discard(body: Readable): void {
  body.on('error', noop);
  if (body.destroyed) return;
  let size = 0;
  const timer = setTimeout(() => body.destroy(), drainTime);
  timer.unref();
  body.once('close', () => clearTimeout(timer));
  body.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > drainLimit) body.destroy();
  });
}

/** Cuts a body's connection. */
export function cut(body: Readable): void {
  body.on('error', noop);
  body.destroy();
}

/** Passes a body on and fails at its end where it was not the digest's. The digest's algorithm is a computable one. */
export function verifyDigest(body: Readable, digest: Digest): Readable {
  const hash = createHash(digestAlgorithm(digest));
  const check = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
    flush(done) {
      const actual = `${digestAlgorithm(digest)}:${hash.digest('hex')}`;
      done(actual === digest ? null : new Error(`the upstream's bytes are not those of ${digest}`));
    },
  });
  return joined(body, check);
}

/** Passes a body on and fails where it is not of this length. @param length bytes */
export function verifyLength(body: Readable, length: number): Readable {
  let size = 0;
  const check = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size > length) done(new Error(`the upstream sent more than ${length} bytes`));
      else done(null, chunk);
    },
    flush(done) {
      done(size === length ? null : new Error(`the upstream sent ${size} of ${length} bytes`));
    },
  });
  return joined(body, check);
}

function joined(body: Readable, check: Transform): Readable {
  pipeline(body, check, noop); // an error of one destroys both
  check.on('error', noop); // it may fail before its reader has come
  return check;
}
