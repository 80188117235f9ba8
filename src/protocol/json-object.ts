import { hasRepeatedKeys } from './repeated-keys.js';

/**
 * The object that a text in JSON is.
 *
 * @returns undefined where it is none. Why is not told: parse errors quote the text, which may hold a token
 */
export function parseJsonObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The object that a text in JSON is which can be read in one way alone: for what somebody vouches for. Programs differ in
 * which of two values of one key they take, and in what they make of bytes that are no UTF-8 (RFC 8259 sections 4 and
 * 8.1).
 *
 * @param encoded a text, or its bytes
 * @returns undefined where it is none
 */
export function parseStrictJsonObject(
  encoded: string | Uint8Array,
): Readonly<Record<string, unknown>> | undefined {
  const text = typeof encoded === 'string' ? encoded : decode(encoded);
  if (text === undefined) return undefined;
  const object = parseJsonObject(text);
  return object === undefined || hasRepeatedKeys(text) ? undefined : object;
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    // A byte order mark stays, and is no JSON.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
