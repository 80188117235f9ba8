import type { ShownSecret } from './shown-secret.js';

const maxLength = 200;
/** Characters. Shorter ones are in every text. */
const shortest = 4;
/** Characters. Who prints a token often prints its beginning only; of a password a part may be any word. */
const partLength = 16;

/** Says "may", so that a log does not tell whose password is short, or a word that was said. */
const withheld = 'withheld: it may repeat what was shown';

/**
 * What foreign code says, fit for a log: one printable line of at most 200 characters. All of it is withheld where it
 * holds what was shown, in a form that a careless program may print it in: taking out the secret alone would show where
 * it was, and a short one would leave its traces in every word.
 */
export function told(text: string, { secret }: ShownSecret): string {
  const line = text
    .split(/[\r\n\u2028\u2029]+/)
    .map((one) => one.replace(/[\p{C}\s]+/gu, ' ').trim())
    .find((one) => one !== '');
  if (line === undefined) return '';
  const value = secret.reveal();
  if (value.length < shortest || readings(text).some((reading) => holds(reading, value))) return withheld;
  return line.length > maxLength ? `${line.slice(0, maxLength)}…` : line;
}

function holds(text: string, value: string): boolean {
  if (value.length < 2 * partLength) return text.includes(value);
  const parts = new Set<string>();
  for (let at = 0; at + partLength <= value.length; at += partLength)
    parts.add(value.slice(at, at + partLength));
  for (let at = 0; at + partLength <= text.length; at++) {
    if (parts.has(text.slice(at, at + partLength))) return true;
  }
  return false;
}

/** The text, and what it says to whoever decodes it: as JSON, from a URL or a form, from base64 and hexadecimal. */
function readings(text: string): readonly string[] {
  // `base64` breaks its lines, and what is encoded may begin before the secret does.
  const dense = text.replace(/\s+/g, '');
  return [
    text,
    text.replace(/\\(?:u([0-9a-f]{4})|(.))/gi, jsonCharacter),
    percentDecoded(text),
    percentDecoded(text.replaceAll('+', ' ')),
    ...[0, 1, 2, 3].map((at) => runsOf(dense, /[\w+/-]{4,}/g, at, 'base64')),
    ...[0, 1].map((at) => runsOf(dense, /[0-9a-f]{4,}/gi, at, 'hex')),
  ];
}

const controls: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

/** RFC 8259 section 7. */
function jsonCharacter(_: string, hex: string | undefined, escaped: string | undefined): string {
  if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
  return controls[escaped ?? ''] ?? escaped ?? '';
}

/** Never throws, as decodeURIComponent does at half a character. */
function percentDecoded(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (bytes) =>
    Buffer.from(bytes.replaceAll('%', ''), 'hex').toString(),
  );
}

function runsOf(text: string, form: RegExp, from: number, encoding: 'base64' | 'hex'): string {
  return [...text.matchAll(form)]
    .map(([run]) => Buffer.from(run.slice(from), encoding).toString())
    .join('\n');
}
