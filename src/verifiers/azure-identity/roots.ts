import { X509Certificate } from 'node:crypto';
import { resolve } from 'node:path';
import { rootCertificates } from 'node:tls';
import { Authorities } from '../mtls/authorities.js';
import type { AzureIdentitySettings } from './settings.js';

/** In the subjects of roots: those that Azure's own authorities are below ("Azure Certificate Authority details"). */
const owners = /^O=(?:DigiCert Inc|DigiCert\\?, Inc\.|Microsoft Corporation)$/m;

/**
 * The authorities that documents must lead to, and those between that are known already.
 *
 * @throws an Error with a one-line message where a file cannot be used
 */
export async function openRoots(
  { roots, intermediates }: Pick<AzureIdentitySettings, 'roots' | 'intermediates'>,
  baseDirectory: string,
): Promise<{ readonly roots: Authorities; readonly intermediates: Authorities }> {
  const read = (file: string) => Authorities.read(resolve(baseDirectory, file));
  return {
    roots: roots === undefined ? bundledRoots() : await read(roots.text),
    intermediates: intermediates === undefined ? new Authorities([]) : await read(intermediates.text),
  };
}

/** Of Node.js itself, not of the system: what else is trusted here, such as a proxy's, signs no documents of Azure. */
export function bundledRoots(): Authorities {
  const all = rootCertificates.map((pem) => new X509Certificate(pem));
  return new Authorities(all.filter(({ subject }) => owners.test(subject)));
}
