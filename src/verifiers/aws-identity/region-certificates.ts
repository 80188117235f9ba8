import { X509Certificate } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../../errors.js';
import { regionPattern } from '../../reference/ecr-host.js';
import { isValidAt } from '../mtls/validity.js';

/** A certificate that AWS publishes for the documents of one region. */
export interface RegionCertificate {
  readonly region: string;
  readonly certificate: X509Certificate;
}

const pem = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;
const ending = '.pem';
/** Bits. */
const minModulus = 2048;
const maxFiles = 500;
/** Bytes. */
const maxFileSize = 64 * 1024;

/** The certificates of a directory of `<region>.pem`. Each is trusted by itself; there are no chains. */
export class RegionCertificates {
  readonly #all: readonly RegionCertificate[];
  /** Names of files that were passed over: they end otherwise, as an editor's copy (`eu-west-1.pem~`) or a README does. */
  readonly ignored: readonly string[];

  constructor(all: readonly RegionCertificate[], ignored: readonly string[] = []) {
    this.#all = all;
    this.ignored = ignored;
  }

  /** @throws an Error with a one-line message where one file of it cannot be used, or there is none */
  static async read(directory: string): Promise<RegionCertificates> {
    const listed = await readdir(directory).catch((cause: unknown) => {
      throw new Error(`cannot read ${directory}: ${(cause as NodeJS.ErrnoException).code}`, { cause });
    });
    // A Kubernetes volume has its own entries there, with a dot before their names.
    const seen = listed.filter((name) => !name.startsWith('.')).sort();
    const names = seen.filter((name) => name.endsWith(ending));
    const how = '`docker-registry-proxy aws-certificates` makes such a directory';
    if (names.length === 0) {
      const has = seen.length === 0 ? 'is empty' : 'holds none';
      throw new Error(`${directory} ${has}; expected files REGION.pem: ${how}`);
    }
    if (names.length > maxFiles) throw new Error(`${directory} holds over ${maxFiles} files`);
    const all: RegionCertificate[] = [];
    for (const name of names) {
      const region = name.slice(0, -ending.length);
      if (!regionPattern.test(region)) {
        throw new Error(`${directory} holds ${JSON.stringify(name)}; expected names such as eu-west-1.pem`);
      }
      all.push(
        ...(await certificatesIn(join(directory, name))).map((certificate) => ({ region, certificate })),
      );
    }
    return new RegionCertificates(
      all,
      seen.filter((name) => !name.endsWith(ending)),
    );
  }

  get regions(): ReadonlySet<string> {
    return new Set(this.#all.map(({ region }) => region));
  }

  get certificates(): readonly X509Certificate[] {
    return this.#all.map(({ certificate }) => certificate);
  }

  /** The regions a certificate stands for. @param certificate one of `certificates` */
  regionsOf(certificate: X509Certificate): readonly string[] {
    return this.#all.filter((one) => one.certificate === certificate).map(({ region }) => region);
  }

  /** Those that are not valid now. @param now milliseconds since the epoch */
  outside(now: number): readonly RegionCertificate[] {
    return this.#all.filter(({ certificate }) => !isValidAt(certificate, now));
  }
}

async function certificatesIn(file: string): Promise<readonly X509Certificate[]> {
  const text = await readText(file);
  const begun = text.match(/-----BEGIN CERTIFICATE-----/g)?.length ?? 0;
  if (begun === 0) throw new Error(`${file} holds no certificate; expected PEM with BEGIN CERTIFICATE`);
  const all = (text.match(pem) ?? []).flatMap((block) => parse(block) ?? []);
  if (all.length < begun) throw new Error(`${file} holds a damaged certificate`);
  for (const [i, { publicKey }] of all.entries()) {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = publicKey;
    const bits = details?.modulusLength ?? 0;
    if (type === 'rsa' && bits >= minModulus) continue;
    const has = type === 'rsa' ? `an RSA key of ${bits} bits` : `a key of the kind ${type}`;
    throw new Error(`${file}: certificate ${i + 1} has ${has}; expected one that AWS lists under RSA-2048`);
  }
  return all;
}

async function readText(file: string): Promise<string> {
  try {
    const found = await stat(file);
    if (!found.isFile()) throw new Error(`${file} is not a regular file`);
    if (found.size > maxFileSize) throw new Error(`${file} is over ${maxFileSize} bytes`);
    return await readFile(file, 'latin1');
  } catch (cause) {
    for (const code of ['EACCES', 'ENOENT', 'EPERM', 'EIO', 'ELOOP']) {
      if (hasCode(cause, code)) throw new Error(`cannot read ${file}: ${code}`, { cause });
    }
    throw cause;
  }
}

function parse(encoded: string): X509Certificate | undefined {
  try {
    return new X509Certificate(encoded);
  } catch {
    return undefined;
  }
}
