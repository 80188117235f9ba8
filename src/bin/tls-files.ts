import { resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { TlsSetting } from '../config/configuration.js';
import type { TlsContext } from '../http/tls-gate.js';
import { authoritiesFault } from '../settings/authorities.js';
import { ChangingFile } from '../settings/changing-file.js';
import type { FilePath } from '../settings/file-path.js';

/** Bytes. */
const maxSize = 1024 * 1024;

/**
 * Reads the files TLS is served with: our certificate and key, and who may sign those of clients.
 *
 * @throws an Error where they cannot be read or do not belong together, as while only one of them is renewed
 */
export async function readTlsFiles(
  { certificate, key, minVersion, clientCertificates }: Omit<TlsSetting, 'redirectFrom'>,
  baseDirectory: string,
): Promise<TlsContext> {
  const read = ({ text }: FilePath) =>
    new ChangingFile(resolve(baseDirectory, text), { parse: (pem) => pem, maxSize }).read();
  const pair = { certificate: await read(certificate), key: await read(key), minVersion };
  createSecureContext({ cert: pair.certificate, key: pair.key });
  if (clientCertificates === undefined) return pair;
  const { ca: file, required } = clientCertificates;
  const ca = await read(file);
  const fault = authoritiesFault(ca);
  if (fault !== undefined) throw new Error(`${file.text} ${fault}`);
  return { ...pair, clientCertificates: { ca, required } };
}
