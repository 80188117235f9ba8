import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, test } from 'node:test';
import {
  algorithm,
  asOfAzure,
  attribute,
  attributesFor,
  der,
  indefinite,
  int,
  none,
  octets,
  oid,
  oids,
  type Parts,
  pieces,
  seq,
  set,
  signerName,
  written,
} from '../../testing/cms-message.js';
import { madeUpRsaKey } from '../../testing/rsa-key.js';
import { readBer } from './ber.js';
import { readSignedData, type SignedData, verifiedContent } from './signed-data.js';

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const content = Buffer.from('{"accountId":"111122223333"}');
const optional = { signedAttributes: 'optional' } as const;

const open = (bytes: Uint8Array, o?: typeof optional, key: KeyObject = publicKey) =>
  verifiedContent(readSignedData(bytes), key, o).toString();

/** What `assert.throws` expects. */
const refusal = (message: RegExp) => ({ name: 'SignedDataError', message });

const attributes = (...all: readonly Uint8Array[]) => der(0xa0, ...all);
const digest = createHash('sha256').update(content).digest();
const contentType = attribute(oids.contentType, oids.data);
const messageDigest = attribute(oids.messageDigest, octets(digest));
const signingTime = attribute(oids.signingTime, der(0x17, Buffer.from('210903212547Z')));
const protection = (...algorithms: readonly Uint8Array[]) =>
  attribute(oids.algorithmProtection, seq(...algorithms));

describe('signed data', () => {
  const accepted: readonly (readonly [what: string, parts: Partial<Parts>])[] = [
    ['as it is mostly', {}],
    ['with the signature algorithm by its full name', { signatureAlgorithm: algorithm(oids.sha256WithRsa) }],
    ['with the digest by the name of the signature', asOfAzure()],
    ['with algorithms without parameters', withoutParameters()],
    ['with revocation lists', { sets: [der(0xa1, seq(none))] }],
    ['with more attributes', { attributes: attributes(contentType, signingTime, messageDigest) }],
    [
      'with algorithms that its attributes name too',
      {
        attributes: attributes(
          ...attributesFor(content, protection(algorithm(oids.sha256), der(0xa1, oids.rsa, none))),
        ),
      },
    ],
    [
      'with content in pieces',
      { encapsulated: seq(oids.data, der(0xa0, indefinite(0x24, ...pieces(content)))) },
    ],
  ];
  for (const [what, parts] of accepted) {
    test(`${what} gives its content`, () => {
      assert.equal(open(written(privateKey, content, parts)), content.toString());
    });
  }

  test('without signed attributes gives its content to who does not require them', () => {
    const signed = written(privateKey, content, { attributes: undefined, ...asOfAzure() });
    assert.equal(open(signed, optional), content.toString());
    assert.throws(() => open(signed), refusal(/^the document has no signed attributes$/));
  });

  test('names its signer, and has certificates as they are', () => {
    const certificates = [seq(int(1)), seq(int(2))];
    const { signer, certificates: found } = readSignedData(
      written(privateKey, content, { sets: [der(0xa0, ...certificates)] }),
    );
    assert.equal(signer.serialNumber, 5n);
    assert.deepEqual(seq(signer.issuer, int(5)), signerName);
    assert.deepEqual(found, certificates);
  });

  const structure: readonly (readonly [what: string, parts: Partial<Parts>, expected: RegExp])[] = [
    ['of another type', { signedData: (inside) => seq(oids.data, der(0xa0, inside)) }, /another type than/],
    [
      'with something beside it',
      { signedData: (i) => seq(oids.signedData, der(0xa0, i), none) },
      /should not/,
    ],
    ['twice', { signedData: (i) => seq(oids.signedData, der(0xa0, i, i)) }, /should not have$/],
    ['of version 3', { version: int(3) }, /the signed data has another version than 1/],
    ['with a padded version', { version: int(0, 1) }, /an integer is padded/],
    ['without digest algorithms', { digestAlgorithms: set() }, /the set of digest algorithms ends too early/],
    [
      'with two digest algorithms',
      { digestAlgorithms: set(algorithm(oids.sha256), algorithm(oids.sha384)) },
      /the set of digest algorithms has what it should not/,
    ],
    [
      'with another digest algorithm',
      { digestAlgorithms: set(algorithm(oids.sha384)) },
      /two different digest/,
    ],
    ['with content of another type', { encapsulated: seq(oids.signedData, none) }, /content of another type/],
    ['without content', { encapsulated: seq(oids.data) }, /a signature, but no content/],
    ['with empty content', { encapsulated: seq(oids.data, der(0xa0)) }, /the content ends too early/],
    [
      'with content that is no octet string',
      { encapsulated: seq(oids.data, der(0xa0, seq())) },
      /something else is where an octet string belongs/,
    ],
    [
      'with something beside its content',
      { encapsulated: seq(oids.data, der(0xa0, octets(content)), none) },
      /the content has what it should not/,
    ],
    [
      'with two contents',
      { encapsulated: seq(oids.data, der(0xa0, octets(content), octets(content))) },
      /the content has what it should not/,
    ],
    ['with a certificate of another kind', { sets: [der(0xa0, der(0xa1, int(1)))] }, /not X\.509 in DER/],
    ['with a certificate not in DER', { sets: [der(0xa0, indefinite(0x30, int(1)))] }, /not X\.509 in DER/],
    [
      'with 17 certificates',
      { sets: [der(0xa0, ...Array.from({ length: 17 }, () => seq()))] },
      /more than 16 certificates/,
    ],
    ['with certificates twice', { sets: [der(0xa0), der(0xa0)] }, /signed data has what|set of signers/],
    [
      'with revocation lists before certificates',
      { sets: [der(0xa1), der(0xa0)] },
      /has what|set of signers/,
    ],
    ['without a signer', { signers: () => set() }, /no signer/],
    ['with the same signer twice', { signers: (signer) => set(signer, signer) }, /more than one signer/],
    [
      'with another signer before it',
      { signers: (signer) => set(seq(int(1)), signer) },
      /more than one signer/,
    ],
    [
      'with something after its signers',
      { signers: (signer) => Buffer.concat([set(signer), none]) },
      /the signed data has what it should not/,
    ],
    ['with a signer of version 3', { signerVersion: int(3) }, /its signer has another version than 1/],
    [
      'with a signer by key identifier',
      { signerName: der(0x80, Buffer.from('a')) },
      /issuer and serial number/,
    ],
    ['with an issuer not in DER', { signerName: seq(indefinite(0x30), int(5)) }, /issuer that is not in DER/],
    ['with an issuer that is no name', { signerName: seq(set(), int(5)) }, /issuer that is not in DER/],
    [
      'with two serial numbers',
      { signerName: seq(seq(), int(5), int(5)) },
      /serial number of the signer has what/,
    ],
    ['with a padded serial number', { signerName: seq(seq(), int(0, 5)) }, /an integer is padded/],
    [
      'with a serial number of 21 bytes',
      { signerName: seq(seq(), int(...Array.from({ length: 21 }, () => 5))) },
      /1 to 20 bytes/,
    ],
    [
      'by SHA-1',
      { digestAlgorithm: algorithm(oids.sha1) },
      /another digest than SHA-256, SHA-384 or SHA-512$/,
    ],
    ['by SHA-1 with RSA', { digestAlgorithm: algorithm(oids.sha1WithRsa) }, /another digest than/],
    ['with a digest with parameters', { digestAlgorithm: algorithm(oids.sha256, int(1)) }, /another digest/],
    [
      'with a digest with a long NULL',
      { digestAlgorithm: algorithm(oids.sha256, der(5, none)) },
      /another dig/,
    ],
    ['with a padded digest', { digestAlgorithm: algorithm(oid('60808648016503040201')) }, /another digest/],
    [
      'signed by ECDSA',
      { signatureAlgorithm: seq(oids.ecdsaWithSha256) },
      /another signature than RSA PKCS#1/,
    ],
    ['signed by RSA-PSS', { signatureAlgorithm: seq(oids.rsaPss, seq()) }, /another signature than RSA/],
    ['signed with SHA-1', { signatureAlgorithm: algorithm(oids.sha1WithRsa) }, /another signature than RSA/],
    [
      'with RSA with parameters',
      { signatureAlgorithm: algorithm(oids.rsa, seq()) },
      /another signature than/,
    ],
    [
      'signed with another digest',
      { signatureAlgorithm: algorithm(oids.sha384WithRsa) },
      /two different digest/,
    ],
    ['without a signature', { signature: none }, /no signature/],
    [
      'with a signature in pieces',
      { signature: indefinite(0x24, octets(Buffer.alloc(256))) },
      /the document has no signature/,
    ],
    ['with unsigned attributes', { behindSignature: [der(0xa1, signingTime)] }, /unsigned attributes/],
    ['with two signatures', { behindSignature: [octets(Buffer.alloc(256))] }, /unsigned attributes/],
  ];
  for (const [what, parts, expected] of structure) {
    test(`${what} is refused`, () => {
      const bytes = written(privateKey, content, parts);
      assert.throws(() => readSignedData(bytes), refusal(expected));
    });
  }

  test('is not read from what is not BER, with the reason', () => {
    const bytes = written(privateKey, content);
    assert.throws(
      () => readSignedData(Buffer.concat([bytes, Buffer.alloc(1)])),
      refusal(/^the document is not signed data: something follows after its end$/),
    );
    assert.throws(
      () => readSignedData(Buffer.alloc(0)),
      refusal(/^the document is not signed data: it ends/),
    );
  });
});

describe('signed attributes', () => {
  const extra = attribute(oid('2a03'), int(1));
  const cases: readonly (readonly [what: string, attributes: Uint8Array, expected: RegExp])[] = [
    ['of indefinite length', indefinite(0xa0, contentType, messageDigest), /not in DER/],
    [
      'with one of indefinite length',
      attributes(contentType, indefinite(0x30, oids.messageDigest)),
      /not in DER/,
    ],
    [
      'with a digest in pieces',
      attributes(contentType, attribute(oids.messageDigest, der(0x24, octets(digest)))),
      /not in DER/,
    ],
    [
      'with a length that is too long',
      attributes(contentType, Buffer.concat([Buffer.from([0x30, 0x81, 47]), messageDigest.subarray(2)])),
      /not in DER/,
    ],
    ['out of order', attributes(messageDigest, contentType), /not in DER/],
    ['that are the same', attributes(contentType, contentType, messageDigest), /not in DER/],
    [
      'with two content types',
      attributes(...attributesFor(content, attribute(oids.contentType, oids.signedData))),
      /a signed attribute twice/,
    ],
    [
      'with two message digests',
      attributes(...attributesFor(content, attribute(oids.messageDigest, octets(Buffer.alloc(32))))),
      /a signed attribute twice/,
    ],
    [
      'with another one twice',
      attributes(extra, attribute(oid('2a03'), int(2)), contentType, messageDigest),
      /twice/,
    ],
    ['without any', attributes(), /lack the content type/],
    ['without content type', attributes(messageDigest), /lack the content type/],
    ['without message digest', attributes(contentType), /lack the message digest/],
    [
      'without a value',
      attributes(attribute(oids.contentType), messageDigest),
      /value of a signed attribute ends/,
    ],
    [
      'with two values',
      attributes(attribute(oids.contentType, oids.data, oids.data), messageDigest),
      /value of a signed attribute has what/,
    ],
    [
      'with a value that is no set',
      attributes(seq(oids.contentType, seq(oids.data)), messageDigest),
      /the value of a signed attribute is not there, or of another type/,
    ],
    [
      'with one that is none',
      attributes(none, contentType, messageDigest),
      /a signed attribute is not|in DER/,
    ],
    [
      'with one that goes on',
      attributes(seq(oids.contentType, set(oids.data), none), messageDigest),
      /a signed attribute has what/,
    ],
    [
      'for content of another type',
      attributes(attribute(oids.contentType, oids.signedData), messageDigest),
      /as content of another type/,
    ],
    [
      'with a digest that is no octet string',
      attributes(contentType, attribute(oids.messageDigest, int(1))),
      /octet string|in DER/,
    ],
    [
      'with a protected digest that is another one',
      attributes(...attributesFor(content, protection(algorithm(oids.sha512), der(0xa1, oids.rsa, none)))),
      /other algorithms than its signed attributes/,
    ],
    [
      'with a protected signature that is another one',
      attributes(
        ...attributesFor(content, protection(algorithm(oids.sha256), der(0xa1, oids.sha256WithRsa, none))),
      ),
      /other algorithms than its signed attributes/,
    ],
    [
      'with a protection without signature',
      attributes(...attributesFor(content, protection(algorithm(oids.sha256)))),
      /the algorithm protection ends too early/,
    ],
    [
      'that are more than 32',
      attributes(
        ...attributesFor(
          content,
          ...Array.from({ length: 31 }, (_, i) => attribute(oid(`2a03${(i + 16).toString(16)}`), int(1))),
        ),
      ),
      /more than 32 signed attributes/,
    ],
  ];
  for (const [what, signed, expected] of cases) {
    test(`${what} are refused`, () => {
      const bytes = written(privateKey, content, { attributes: signed });
      assert.throws(() => readSignedData(bytes), refusal(expected));
    });
  }

  for (const [what, wrong] of [
    ['of other content', createHash('sha256').update('other').digest()],
    ['by another algorithm', createHash('sha384').update(content).digest()],
    ['cut', digest.subarray(0, 31)],
    ['of nothing', Buffer.alloc(0)],
  ] as const) {
    test(`with a digest ${what} are refused`, () => {
      const sorted = [contentType, attribute(oids.messageDigest, octets(wrong))].sort(Buffer.compare);
      const signed = written(privateKey, content, { attributes: attributes(...sorted) });
      assert.throws(() => open(signed), refusal(/^the document has another content than was signed$/));
    });
  }
});

describe('verified content', () => {
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const signed = written(privateKey, content);
  const plain = written(privateKey, content, { attributes: undefined });

  test('is refused under another key, or with another signature', () => {
    for (const bytes of [signed, plain]) {
      assert.throws(() => open(bytes, optional, other.publicKey), refusal(/not by its signer's key$/));
    }
    for (const signature of [Buffer.alloc(0), Buffer.alloc(256), Buffer.alloc(257, 1), Buffer.alloc(4096)]) {
      const bytes = written(privateKey, content, { signature: octets(signature) });
      assert.throws(() => open(bytes), refusal(/not by its signer's key$/));
    }
  });

  test('is refused where it was exchanged', () => {
    const exchanged = { content: Buffer.from('{"accountId":"444455556666"}') };
    assert.throws(() => open(written(privateKey, content, exchanged)), refusal(/another content/));
    const direct = { ...exchanged, attributes: undefined };
    assert.throws(() => open(written(privateKey, content, direct), optional), refusal(/signer's key/));
  });

  test('is refused where the signature is over the attributes with their own tag', () => {
    const own = attributes(...attributesFor(content));
    const signature = readSignature(written(privateKey, own, { attributes: undefined }));
    assert.throws(() => open(written(privateKey, content, { signature })), refusal(/signer's key/));
  });

  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });
  for (const [what, key, expected] of [
    ['a key of 1024 bits', weak.publicKey, /its RSA key has 1024 bits, under 2048$/],
    ['a key of 16384 bits', madeUpRsaKey({ bits: 16384 }), /its RSA key has 16384 bits, over 8192$/],
    [
      'a key with a long exponent',
      madeUpRsaKey({ bits: 3072, exponent: 2n ** 3071n + 1n }),
      /cannot be relied on: its RSA key has a public exponent over 2\^32$/,
    ],
    [
      'a key of an elliptic curve',
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey,
      /another key/,
    ],
    ['a key of EdDSA', generateKeyPairSync('ed25519').publicKey, /another key than a public one of RSA$/],
    ['a key for PSS only', generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey, /another key/],
    ['a private key', privateKey, /another key/],
  ] as const) {
    test(`is refused under ${what}`, () =>
      assert.throws(() => open(signed, undefined, key), refusal(expected)));
  }

  test('under a key of 1024 bits is refused even where that signed', () => {
    const bytes = written(weak.privateKey, content);
    assert.throws(() => open(bytes, undefined, weak.publicKey), refusal(/1024 bits/));
  });

  test('is given for what was read, and for nothing else', () => {
    const { signer, certificates } = readSignedData(signed);
    assert.throws(() => verifiedContent({ signer, certificates }, publicKey), {
      name: 'TypeError',
      message: 'expected what readSignedData returned',
    });
    assert.deepEqual(Object.keys(readSignedData(signed)).sort(), ['certificates', 'signer']);
  });

  test('does not change with the bytes it was read from, nor with what was given out', () => {
    const bytes = Buffer.from(signed);
    const read: SignedData = readSignedData(bytes);
    bytes.fill(0);
    verifiedContent(read, publicKey).fill(0);
    assert.equal(verifiedContent(read, publicKey).toString(), content.toString());
  });

  // Signatures do not say whether they are over attributes or over content.
  test('is never what a signature over attributes is for', () => {
    const inner = attributes(...attributesFor(content));
    const shown = Buffer.from([0x31, ...inner.subarray(1)]);
    const signature = readSignature(signed);
    const bytes = written(privateKey, shown, { attributes: undefined, signature });
    // The signature is good: without the defence it would be content.
    assert.equal(open(written(privateKey, content, { attributes: inner, signature })), content.toString());
    assert.throws(() => open(bytes), refusal(/no signed attributes/));
    assert.throws(() => open(bytes, optional), refusal(/can be taken for signed attributes/));
    const empty = written(privateKey, shown, { attributes: attributes(), signature });
    assert.throws(() => open(empty, optional), refusal(/lack the content type/));
  });
});

/** The last element of its only signer. */
function readSignature(bytes: Uint8Array): Buffer {
  let element = readBer(bytes);
  while (element.children.length > 0) element = element.children.at(-1) ?? element;
  return Buffer.from(element.bytes);
}

function withoutParameters(): Partial<Parts> {
  return {
    digestAlgorithms: set(seq(oids.sha256)),
    digestAlgorithm: seq(oids.sha256),
    signatureAlgorithm: seq(oids.sha256WithRsa),
  };
}
