import { createHash, type KeyObject, sign } from 'node:crypto';

// Signed data (RFC 5652) written by hand, so that each part of it can be wrong.

export function der(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const inside = Buffer.concat(content);
  const length = inside.length;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), inside]);
  const header = length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), inside]);
}

export function indefinite(tag: number, ...content: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from([tag, 0x80]), ...content, Buffer.alloc(2)]);
}

export const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'));
export const int = (...octets: readonly number[]) => der(0x02, Buffer.from(octets));
export const none = der(0x05);
export const seq = (...content: readonly Uint8Array[]) => der(0x30, ...content);
export const set = (...content: readonly Uint8Array[]) => der(0x31, ...content);
export const octets = (content: Uint8Array) => der(0x04, content);

export const oids = {
  data: oid('2a864886f70d010701'),
  signedData: oid('2a864886f70d010702'),
  contentType: oid('2a864886f70d010903'),
  messageDigest: oid('2a864886f70d010904'),
  signingTime: oid('2a864886f70d010905'),
  algorithmProtection: oid('2a864886f70d010934'),
  sha1: oid('2b0e03021a'),
  sha256: oid('608648016503040201'),
  sha384: oid('608648016503040202'),
  sha512: oid('608648016503040203'),
  rsa: oid('2a864886f70d010101'),
  sha1WithRsa: oid('2a864886f70d010105'),
  rsaPss: oid('2a864886f70d01010a'),
  sha256WithRsa: oid('2a864886f70d01010b'),
  sha384WithRsa: oid('2a864886f70d01010c'),
  ecdsaWithSha256: oid('2a8648ce3d040302'),
};

export const algorithm = (identifier: Uint8Array, parameters: Uint8Array = none) =>
  seq(identifier, parameters);
export const attribute = (type: Uint8Array, ...values: readonly Uint8Array[]) => seq(type, set(...values));

/** Attributes for a content, as a SET OF wants them. */
export function attributesFor(content: Uint8Array, ...others: readonly Uint8Array[]): readonly Buffer[] {
  const digest = createHash('sha256').update(content).digest();
  const all = [
    attribute(oids.contentType, oids.data),
    attribute(oids.messageDigest, octets(digest)),
    ...others,
  ];
  return all.map((one) => Buffer.from(one)).sort(Buffer.compare);
}

/** The parts of signed data, each in BER. */
export interface Parts {
  readonly content: Uint8Array;
  /** Of the signer; with its tag. Undefined: none. */
  readonly attributes: Uint8Array | undefined;
  readonly signature: Uint8Array;
  readonly version: Uint8Array;
  readonly digestAlgorithms: Uint8Array;
  readonly encapsulated: Uint8Array;
  /** Certificates and revocation lists. */
  readonly sets: readonly Uint8Array[];
  readonly signerVersion: Uint8Array;
  readonly signerName: Uint8Array;
  readonly digestAlgorithm: Uint8Array;
  readonly signatureAlgorithm: Uint8Array;
  /** Unsigned attributes. */
  readonly behindSignature: readonly Uint8Array[];
  readonly signers: (signer: Buffer) => Uint8Array;
  /** What comes of it is shown. */
  readonly signedData: (signedData: Buffer) => Uint8Array;
}

export const signerName = seq(seq(set(seq(oid('550403'), der(0x0c, Buffer.from('Example'))))), int(5));

/** Signed data with everything right, but what is said to be otherwise. What is signed is what is in it. */
export function written(key: KeyObject, content: Uint8Array, parts: Partial<Parts> = {}): Buffer {
  const attributes = 'attributes' in parts ? parts.attributes : der(0xa0, ...attributesFor(content));
  const signed = attributes === undefined ? content : Buffer.from([0x31, ...attributes.subarray(1)]);
  const {
    signature = octets(sign('sha256', signed, key)),
    version = int(1),
    digestAlgorithms = set(algorithm(oids.sha256)),
    encapsulated = seq(oids.data, der(0xa0, octets(parts.content ?? content))),
    sets = [],
    signerVersion = int(1),
    digestAlgorithm = algorithm(oids.sha256),
    signatureAlgorithm = algorithm(oids.rsa),
    behindSignature = [],
    signers = (signer: Buffer) => set(signer),
    signedData = (inside: Buffer) => seq(oids.signedData, der(0xa0, inside)),
  } = parts;
  const signer = seq(
    signerVersion,
    parts.signerName ?? signerName,
    digestAlgorithm,
    ...(attributes === undefined ? [] : [attributes]),
    signatureAlgorithm,
    signature,
    ...behindSignature,
  );
  return Buffer.from(
    signedData(seq(version, digestAlgorithms, encapsulated, ...sets, Buffer.from(signers(signer)))),
  );
}

/** Of a constructed octet string. */
export function pieces(bytes: Uint8Array): readonly Buffer[] {
  return [octets(bytes.subarray(0, 5)), octets(Buffer.alloc(0)), octets(bytes.subarray(5))];
}

/** As in attested documents: OID of the signature where that of the digest belongs. */
export function asOfAzure(): Partial<Parts> {
  const both = algorithm(oids.sha256WithRsa);
  return { digestAlgorithms: set(both), digestAlgorithm: both };
}
