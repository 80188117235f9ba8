import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { decode, hasNameConstraints, onlyKnownCriticals } from './extensions.js';
import { keyFault, signatureFault } from './strength.js';
import { isValidAt } from './validity.js';

const pem = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** Whose signature makes a certificate ours. Each is trusted by itself: there are no chains (RFC 5280 section 6.1.1 d). */
export class Authorities {
  readonly #all: readonly X509Certificate[];

  constructor(all: readonly X509Certificate[]) {
    this.#all = all;
  }

  /** @throws an Error with a one-line message where the file cannot be read, or holds what is no authority */
  static async read(file: string): Promise<Authorities> {
    const text = await readFile(file, 'latin1').catch((cause: unknown) => {
      throw new Error(`cannot read ${file}: ${(cause as NodeJS.ErrnoException).code}`, { cause });
    });
    const begun = text.match(/-----BEGIN CERTIFICATE-----/g)?.length ?? 0;
    if (begun === 0) throw new Error(`${file} holds no certificate; expected PEM with BEGIN CERTIFICATE`);
    const all = (text.match(pem) ?? []).flatMap((block) => parse(block) ?? []);
    if (all.length < begun) throw new Error(`${file} holds a damaged certificate`);
    for (const [i, certificate] of all.entries()) {
      const fault = authorityFault(certificate);
      if (fault !== undefined) throw new Error(`${file}: certificate ${i + 1} ${fault}`);
    }
    return new Authorities(all);
  }

  /** Those of them that are not valid now. @param now milliseconds since the epoch */
  outside(now: number): readonly X509Certificate[] {
    return this.#all.filter((authority) => !isValidAt(authority, now));
  }

  /** Those that issued and signed a certificate: more than one where an authority's own certificate was renewed. */
  issuersOf(certificate: X509Certificate): readonly X509Certificate[] {
    return this.#all.filter(
      (authority) => certificate.checkIssued(authority) && signed(authority, certificate),
    );
  }
}

/** @param encoded PEM, or DER */
export function parse(encoded: string | Uint8Array): X509Certificate | undefined {
  try {
    return new X509Certificate(encoded);
  } catch {
    return undefined;
  }
}

function authorityFault(certificate: X509Certificate): string | undefined {
  if (!certificate.ca) return 'is not an authority';
  try {
    const decoded = decode(certificate);
    // A constraint that is not enforced would be a promise that is not kept.
    if (hasNameConstraints(decoded)) return 'has name constraints, which are not enforced here';
    if (!onlyKnownCriticals(decoded)) return 'has a critical extension that is not understood';
    // What it says of itself by its own signature nobody relies on.
    const isRoot = certificate.checkIssued(certificate);
    const fault = keyFault(certificate.publicKey) ?? (isRoot ? undefined : signatureFault(decoded));
    return fault && `cannot be relied on: ${fault}`;
  } catch {
    return 'cannot be understood';
  }
}

function signed(authority: X509Certificate, certificate: X509Certificate): boolean {
  try {
    return certificate.verify(authority.publicKey);
  } catch {
    return false; // a signature of another kind than the key
  }
}
