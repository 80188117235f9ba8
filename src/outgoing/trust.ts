import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import tls, { type SecureContext } from 'node:tls';

/** Node 22.15 and later can say what it trusts. */
interface TlsOfNode22 {
  getCACertificates?(type: 'default'): readonly string[];
}

const pem = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/**
 * Trust in the certificates of a PEM file beside the system's roots. Made once: parsing all roots for each connection
 * would cost milliseconds.
 *
 * @throws an Error with a one-line message
 */
export async function trustWith(file: string): Promise<SecureContext> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Error(`cannot read the CA file ${file}: ${(cause as NodeJS.ErrnoException).code}`, { cause });
  });
  const certificates = text.match(pem) ?? [];
  if (certificates.length === 0 || !certificates.every(isCertificate)) {
    throw new Error(`the CA file ${file} holds no PEM certificate, or a broken one`);
  }
  return tls.createSecureContext({ ca: [...(await systemRoots()), ...certificates] });
}

async function systemRoots(): Promise<readonly string[]> {
  const known = (tls as TlsOfNode22).getCACertificates?.('default');
  if (known !== undefined) return known;
  const extra = process.env.NODE_EXTRA_CA_CERTS;
  const more = extra === undefined ? '' : await readFile(extra, 'utf8').catch(() => '');
  return [...tls.rootCertificates, ...(more.match(pem) ?? [])];
}

function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(text).raw.length > 0;
  } catch {
    return false;
  }
}
