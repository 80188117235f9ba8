import type { ShownSecret } from './shown-secret.js';

const maxLength = 200;

/**
 * What foreign code says, fit for a log: one printable line of at most 200 characters. What it was shown is taken out,
 * in the forms that a careless program may print it in.
 */
export function told(text: string, shown: ShownSecret): string {
  let censored = text;
  for (const form of formsOf(shown)) censored = censored.replaceAll(form, '[secret]');
  const line = censored
    .split(/[\r\n\u2028\u2029]+/)
    .map((one) => one.replace(/[\p{C}\s]+/gu, ' ').trim())
    .find((one) => one !== '');
  if (line === undefined) return '';
  return line.length > maxLength ? `${line.slice(0, maxLength)}…` : line;
}

/** The longest first, so that no rest of one stays. */
function formsOf({ username, secret }: ShownSecret): readonly string[] {
  const value = secret.reveal();
  const encoded = [value, ...(username === undefined ? [] : [`${username}:${value}`])].flatMap((one) => {
    const bytes = Buffer.from(one);
    return [bytes.toString('base64').replace(/=+$/, ''), bytes.toString('base64url'), bytes.toString('hex')];
  });
  const forms = [value, JSON.stringify(value).slice(1, -1), formEncoded(value), ...encoded];
  return [...new Set(forms)].sort((a, b) => b.length - a.length);
}

/** Never throws, as encodeURIComponent does at half a character. */
function formEncoded(value: string): string {
  return new URLSearchParams([['', value]]).toString().slice(1);
}
