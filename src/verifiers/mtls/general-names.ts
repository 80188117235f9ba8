/** What a certificate says its subject is called beside the subject's own name (RFC 5280 section 4.2.1.6). */
export interface GeneralNames {
  /** In lower case. */
  readonly dnsNames: readonly string[];
  readonly emails: readonly string[];
  readonly uris: readonly string[];
}

/** More than any certificate has for its use. */
const maxNames = 100;

/** Tags of `GeneralName`: each an implicitly tagged IA5String. */
const tags: Readonly<Record<number, keyof GeneralNames>> = { 129: 'emails', 130: 'dnsNames', 134: 'uris' };

/** IA5String without control characters and spaces, which none of these names can have. */
const text = /^[!-~]+$/;

/**
 * Reads the DER of a `SubjectAltName`. Not the text that OpenSSL makes of it: in one line, a name can hold what looks
 * like another one (CVE-2021-44532). Names of other kinds are passed over.
 *
 * @returns undefined where it is damaged, a name has other characters than it may have, or there are too many
 */
export function readGeneralNames(der: Uint8Array): GeneralNames | undefined {
  const sequence = readElement(der, 0);
  if (sequence?.tag !== 0x30 || sequence.end !== der.length) return undefined;
  const found = { dnsNames: [] as string[], emails: [] as string[], uris: [] as string[] };
  let count = 0;
  for (let at = sequence.start; at < sequence.end; ) {
    const element = readElement(der, at);
    count += 1;
    if (element === undefined || element.end > sequence.end || count > maxNames) return undefined;
    const kind = tags[element.tag];
    if (kind !== undefined) {
      const value = Buffer.from(der.subarray(element.start, element.end)).toString('latin1');
      if (!text.test(value)) return undefined;
      found[kind].push(kind === 'dnsNames' ? value.toLowerCase() : value);
    }
    at = element.end;
  }
  return found;
}

interface Element {
  readonly tag: number;
  /** Of the content. */
  readonly start: number;
  readonly end: number;
}

/** X.690 section 8.1 with the lengths of DER: definite, and none longer than three bytes. */
function readElement(der: Uint8Array, at: number): Element | undefined {
  const [tag, first] = [der[at], der[at + 1]];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined;
  const bytes = first < 0x80 ? 0 : first & 0x7f;
  if (first === 0x80 || bytes > 3) return undefined;
  const start = at + 2 + bytes;
  let length = bytes === 0 ? first : 0;
  for (const byte of der.subarray(at + 2, start)) length = length * 256 + byte;
  const end = start + length;
  return end <= der.length ? { tag, start, end } : undefined;
}
