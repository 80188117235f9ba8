import type { IncomingMessage } from 'node:http';
import type { CallOptions } from '../contracts/index.js';
import { RegistryError } from '../errors.js';

/** Milliseconds for a form to arrive. */
const formTimeout = 15_000;

/**
 * Reads the body of a form by events and not by an iterator: that would end the connection, which still has to carry the
 * answer.
 *
 * @param maxSize bytes
 * @throws RegistryError SIZE_INVALID for a form that is too large, too slow or not whole
 */
export function readForm(
  request: IncomingMessage,
  { maxSize, signal }: CallOptions & { readonly maxSize: number },
): Promise<URLSearchParams> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const done = (error?: unknown) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      request.off('data', onData).off('end', done).off('close', onCut).pause();
      if (error === undefined) resolve(new URLSearchParams(Buffer.concat(chunks).toString('utf8')));
      else reject(error);
    };
    const onAbort = () => done(signal.reason);
    const onCut = () => done(badForm('the form broke off', 400));
    const onData = (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxSize) done(badForm('the form is too large', 413));
      else chunks.push(chunk);
    };
    const timer = setTimeout(() => done(badForm('the form took too long', 408)), formTimeout);
    signal.addEventListener('abort', onAbort, { once: true });
    request.on('error', onCut).on('close', onCut).on('end', done).on('data', onData);
    if (request.destroyed) onCut();
  });
}

function badForm(message: string, status: number): RegistryError {
  return new RegistryError('SIZE_INVALID', { message, status });
}
