import 'reflect-metadata';
import { createPrivateKey, type KeyObject, randomBytes, sign, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

// Certificates and signed messages as Azure makes them, and as it never would. The messages are written here by hand, so
// that they share no code with what reads them.

const rsa = {
  name: 'RSASSA-PKCS1-v1_5',
  hash: 'SHA-256',
  publicExponent: new Uint8Array([1, 0, 1]),
  modulusLength: 2048,
} as const;
const hour = 3_600_000;
const ninetyDays = 90 * 24 * hour;

export interface Issued {
  readonly pem: string;
  readonly der: Buffer;
  /** Of its issuer and serial number, as a signer is named. */
  readonly identity: Buffer;
  readonly key: KeyObject;
  readonly subject: string;
  readonly keys: webcrypto.CryptoKeyPair;
}

export interface CertificateOptions {
  /** `CN=metadata.azure.com`, or more of a name. */
  readonly subject: string;
  /** Who signs it; itself where it is missing. */
  readonly by?: Issued;
  /** Whose keys it has: those of a whole process, by name, for making them takes longer than all else. Default: subject */
  readonly keysOf?: string;
  /** Names another issuer than who signs it. */
  readonly issuer?: string;
  readonly serialNumber?: string;
  /** In place of that of its keys, which sign nothing that fits then. */
  readonly publicKey?: KeyObject;
  /** Milliseconds since the epoch. Default: an hour ago, and in ninety days. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly ca?: boolean;
  readonly pathLength?: number;
  /** Default: that of what it is. */
  readonly keyUsage?: x509.KeyUsageFlags;
  /** Default: of servers and clients, as Microsoft's. */
  readonly extendedKeyUsage?: readonly string[];
  readonly dnsNames?: readonly string[];
  /** Where the certificate of its issuer is. */
  readonly aia?: readonly string[];
  readonly more?: readonly x509.Extension[];
}

const madeKeys = new Map<string, Promise<webcrypto.CryptoKeyPair>>();

function keysNamed(name: string): Promise<webcrypto.CryptoKeyPair> {
  const made =
    madeKeys.get(name) ??
    (webcrypto.subtle.generateKey(rsa, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>);
  madeKeys.set(name, made);
  return made;
}

export async function issueCertificate(options: CertificateOptions): Promise<Issued> {
  const {
    subject,
    by,
    ca = false,
    notBefore = Date.now() - hour,
    notAfter = Date.now() + ninetyDays,
  } = options;
  const keys = await keysNamed(options.keysOf ?? subject);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: options.serialNumber ?? `40${randomBytes(8).toString('hex')}`,
    subject,
    issuer: options.issuer ?? by?.subject ?? subject,
    notBefore: new Date(notBefore),
    notAfter: new Date(notAfter),
    publicKey: options.publicKey === undefined ? keys.publicKey : await imported(options.publicKey),
    signingKey: (by?.keys ?? keys).privateKey,
    signingAlgorithm: rsa,
    extensions: extensions({ ...options, ca }),
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const identity = sequence(
    Buffer.from(certificate.issuerName.toArrayBuffer()),
    element(0x02, Buffer.from(certificate.serialNumber, 'hex')),
  );
  return {
    pem: `${certificate.toString('pem')}\n`,
    der: Buffer.from(certificate.rawData),
    identity,
    key: createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }),
    subject,
    keys,
  };
}

function imported(key: KeyObject): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('spki', key.export({ type: 'spki', format: 'der' }), rsa, true, [
    'verify',
  ]);
}

const flags = x509.KeyUsageFlags;

function extensions({ ca = false, pathLength, dnsNames, aia, ...options }: CertificateOptions) {
  const usage =
    options.keyUsage ??
    (ca ? flags.keyCertSign | flags.cRLSign : flags.digitalSignature | flags.keyEncipherment);
  const usages = options.extendedKeyUsage ?? ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'];
  return [
    new x509.BasicConstraintsExtension(ca, pathLength, true),
    new x509.KeyUsagesExtension(usage, true),
    ...(usages.length > 0 ? [new x509.ExtendedKeyUsageExtension([...usages])] : []),
    ...(dnsNames === undefined
      ? []
      : [new x509.SubjectAlternativeNameExtension(dnsNames.map((value) => ({ type: 'dns', value })))]),
    ...(aia === undefined
      ? []
      : [
          new x509.AuthorityInfoAccessExtension({
            ocsp: 'http://oneocsp.microsoft.com/ocsp',
            caIssuers: [...aia],
          }),
        ]),
    ...(options.more ?? []),
  ];
}

export interface MessageOptions {
  /** What is signed; what is shown as content where `shown` is missing. */
  readonly content: Buffer;
  readonly shown?: Buffer;
  /** Whose key signs, and who is named as the signer. */
  readonly signer: Issued;
  /** Signs in place of the signer's own key. */
  readonly key?: KeyObject;
  /** Embedded, in this order. Default: the signer's, as Azure does. */
  readonly certificates?: readonly Issued[];
}

/** 1.2.840.113549.1.1.11: what Azure names as the digest's algorithm too. */
const sha256WithRsa = sequence(oid('2a864886f70d01010b'), element(0x05));
const rsaEncryption = sequence(oid('2a864886f70d010101'), element(0x05));
const data = oid('2a864886f70d010701');
const signedData = oid('2a864886f70d010702');
const one = element(0x02, Buffer.from([1]));

/** Signed data in DER as Azure's metadata service writes it: without signed attributes, with its own certificate alone. */
export function signMessage({ content, shown = content, signer, key, certificates }: MessageOptions): Buffer {
  const signature = sign('sha256', content, key ?? signer.key);
  const signerInfo = sequence(one, signer.identity, sha256WithRsa, rsaEncryption, element(0x04, signature));
  return sequence(
    signedData,
    element(
      0xa0,
      sequence(
        one,
        element(0x31, sha256WithRsa),
        sequence(data, element(0xa0, element(0x04, shown))),
        element(0xa0, ...(certificates ?? [signer]).map(({ der }) => der)),
        element(0x31, signerInfo),
      ),
    ),
  );
}

function oid(hex: string): Buffer {
  return element(0x06, Buffer.from(hex, 'hex'));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return element(0x30, ...parts);
}

/** X.690 section 8.1, with a definite length. */
export function element(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.length;
  const bytes = size < 0x80 ? [size] : size < 0x1_00 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  if (size > 0xffff)
    return Buffer.concat([Buffer.from([tag, 0x83, size >> 16, (size >> 8) & 0xff, size & 0xff]), content]);
  return Buffer.concat([Buffer.from([tag, ...bytes]), content]);
}
