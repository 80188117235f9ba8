import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readSignedData, type SignedData, SignedDataError, verifiedContent } from './signed-data.js';
import { signerAmong } from './signer-of.js';

const vectors = fileURLToPath(new URL('../../../../shared/vectors/aws-identity/', import.meta.url));
const skip = !existsSync(vectors) && 'the shared vectors are not here';

/** The document of a real instance, and the certificate that AWS publishes for its region. */
function real() {
  const text = readFileSync(`${vectors}i-078517ca8a70a1dde.us-west-2.rsa2048.p7b64`, 'latin1');
  const bytes = Buffer.from(text, 'base64');
  return {
    bytes,
    certificate: ofRegion('us-west-2'),
    content: verifiedContent(readSignedData(bytes), key()),
  };
}

const ofRegion = (region: string) => new X509Certificate(readFileSync(`${vectors}rsa2048/${region}.pem`));
const key = () => ofRegion('us-west-2').publicKey;

/**
 * Every bit of the document, with it turned over.
 *
 * @param verify what of it is looked at
 * @returns the bytes in which a bit is of no matter: the content comes out all the same
 */
function immaterial(verify: (read: SignedData) => Buffer): readonly number[] {
  const { bytes, content } = real();
  const found = new Set<number>();
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const at = bit >> 3;
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ (1 << (bit & 7));
    try {
      assert.ok(verify(readSignedData(changed)).equals(content), `bit ${bit} gives another content`);
      found.add(at);
    } catch (error) {
      if (!(error instanceof SignedDataError)) throw error;
    }
  }
  return [...found];
}

describe('the document of a real instance', { skip }, () => {
  test('gives its content by the certificate of its region', () => {
    const { bytes, certificate, content } = real();
    const read = readSignedData(bytes);
    assert.deepEqual(signerAmong(read, [certificate]), [certificate]);
    assert.deepEqual(read.certificates, []);
    const { accountId, instanceId, region } = JSON.parse(content.toString());
    assert.deepEqual([accountId, instanceId, region], ['278576220453', 'i-078517ca8a70a1dde', 'us-west-2']);
  });

  test('is by no other region', () => {
    const { bytes } = real();
    const read = readSignedData(bytes);
    const others = readdirSync(`${vectors}rsa2048`)
      .map((file) => file.replace(/\.pem$/, ''))
      .filter((region) => region !== 'us-west-2')
      .map(ofRegion);
    assert.ok(others.length > 20, `${others.length} other regions`);
    assert.deepEqual(signerAmong(read, others), []);
    for (const { publicKey } of others) {
      assert.throws(() => verifiedContent(read, publicKey), SignedDataError);
    }
  });

  test('gives no other content with any bit changed, and none at all where its signer is looked for', () => {
    const { certificate } = real();
    const ofSigner = (read: SignedData) => {
      const [signer] = signerAmong(read, [certificate]);
      if (signer === undefined) throw new SignedDataError('the signer is another one');
      return verifiedContent(read, signer.publicKey);
    };
    // No byte at all is immaterial.
    assert.deepEqual(immaterial(ofSigner), []);
    // Nobody signed the name of the issuer (552-645) and the serial number (646-656), by which the signer is looked for.
    const byKeyAlone = immaterial((read) => verifiedContent(read, key()));
    assert.ok(byKeyAlone.includes(656), 'the serial number says nothing where the key is given');
    assert.deepEqual(
      byKeyAlone.filter((at) => at < 552 || at > 656),
      [],
    );
  });

  test('is refused where it is cut, at every byte, and where anything follows', () => {
    const { bytes } = real();
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(() => readSignedData(bytes.subarray(0, length)), SignedDataError, `${length} bytes`);
    }
    for (const more of [Buffer.alloc(1), Buffer.alloc(2), Buffer.from('\n'), bytes]) {
      assert.throws(() => readSignedData(Buffer.concat([bytes, more])), /something follows after its end$/);
    }
  });
});
