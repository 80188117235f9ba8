import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { describeError } from '../errors.js';
import { authoritiesFault } from '../settings/authorities.js';
import type { FilePath } from '../settings/file-path.js';
import type { Finding, SettingPath } from './problem.js';

/** Bytes of a certificate or key. */
const maxPemSize = 1024 * 1024;

/** Finds a certificate and key that TLS cannot use. Files that cannot be read are for `checkFiles`. */
export async function checkTlsPair(
  pair: { readonly certificate: FilePath; readonly key: FilePath },
  path: SettingPath,
  baseDirectory: string,
): Promise<readonly Finding[]> {
  const certificate = await read(pair.certificate, baseDirectory, parseCertificate);
  const key = await read(pair.key, baseDirectory, parseKey);
  const findings: Finding[] = [];
  for (const [name, part] of [['certificate', certificate] as const, ['key', key] as const]) {
    if (part !== undefined && 'fault' in part) {
      findings.push({ path: [...path, name], message: `${pair[name].text} ${part.fault}` });
    }
  }
  if (certificate === undefined || key === undefined || 'fault' in certificate || 'fault' in key) {
    return findings;
  }
  const message = togetherFault(certificate, key);
  return message === undefined ? [] : [{ path, message }];
}

/** Finds a file of authorities that no client certificate can be checked against. */
export async function checkAuthorities(
  { ca }: { readonly ca: FilePath },
  path: SettingPath,
  baseDirectory: string,
): Promise<readonly Finding[]> {
  const part = await read(ca, baseDirectory, (pem) => authoritiesFault(pem) ?? { pem });
  if (part === undefined || !('fault' in part)) return [];
  return [{ path: [...path, 'ca'], message: `${ca.text} ${part.fault}` }];
}

type Part<T> = { readonly pem: string; readonly value: T } | { readonly fault: string };

async function read<T>(
  file: FilePath,
  baseDirectory: string,
  parse: (pem: string) => T | string,
): Promise<Part<T> | undefined> {
  let pem: string;
  try {
    const name = resolve(baseDirectory, file.text);
    const status = await stat(name);
    if (!status.isFile()) return undefined;
    if (status.size > maxPemSize) return { fault: `is larger than ${maxPemSize} bytes` };
    pem = await readFile(name, 'latin1');
  } catch {
    return undefined;
  }
  const parsed = parse(pem);
  return typeof parsed === 'string' ? { fault: parsed } : { pem, value: parsed };
}

/** @returns the first certificate, the server's own, or what is wrong */
function parseCertificate(pem: string): X509Certificate | string {
  if (!/-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/.test(pem)) {
    return 'holds no certificate; expected PEM with BEGIN CERTIFICATE';
  }
  try {
    return new X509Certificate(pem);
  } catch {
    return 'holds a damaged certificate';
  }
}

function parseKey(pem: string): KeyObject | string {
  if (!/-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/.test(pem)) {
    return 'holds no private key; expected PEM with BEGIN PRIVATE KEY';
  }
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(pem)) {
    return 'holds an encrypted private key; expected one without a passphrase';
  }
  try {
    return createPrivateKey(pem);
  } catch {
    return 'holds a damaged private key';
  }
}

function togetherFault(
  certificate: { readonly pem: string; readonly value: X509Certificate },
  key: { readonly pem: string; readonly value: KeyObject },
): string | undefined {
  if (!certificate.value.checkPrivateKey(key.value)) {
    return "the certificate and the key do not belong together; the server's own certificate comes first in its file";
  }
  try {
    createSecureContext({ cert: certificate.pem, key: key.pem });
    return undefined;
  } catch (error) {
    return `TLS cannot use the certificate and the key: ${describeError(error)}`;
  }
}
