import 'reflect-metadata';
import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import * as x509 from '@peculiar/x509';
import type { Verifier } from '../../src/contracts/index.js';
import { azureNonce } from '../../src/protocol/azure-nonce.js';
import { madeUpRsaKey } from '../../src/testing/rsa-key.js';
import { publishedAt, urlOf } from './harness/azure-attested.js';
import {
  type AzureIdentityHouse,
  audience,
  documentOf,
  openAzureIdentityHouse,
  openAzureVerifier,
  outcome,
  publisher,
  shown,
} from './harness/azure-identity-house.js';
import {
  type CertificateOptions,
  element,
  type Issued,
  issueCertificate,
  type MessageOptions,
  signMessage,
} from './harness/azure-pki.js';

const hour = 3_600_000;
const issuingName = 'CN=Test TLS G2 RSA CA OCSP 02, O=Test, C=US';
const metadataNames = ['metadata.azure.com'];

let house: AzureIdentityHouse;
const closers: (() => Promise<void> | void)[] = [];
before(async () => {
  house = await openAzureIdentityHouse({ after: (close) => void closers.unshift(close) });
});
after(async () => {
  for (const close of closers) await close();
});

const content = () => house.machine.content(azureNonce(audience, house.clock.now()));
const message = (signer: Issued, more: Partial<MessageOptions> = {}) =>
  signMessage({ content: content(), signer, ...more });
const certificate = (more: Partial<CertificateOptions> = {}) => house.authorities.certificate(more);
/** An authority that `by` made, with no place where it could be fetched. */
const authority = (name: string, by: Issued, more: Partial<CertificateOptions> = {}) =>
  issueCertificate({ subject: `CN=${name}`, by, ca: true, ...more });
const mallory = () => issueCertificate({ subject: 'CN=Mallory Root', ca: true });

/** @returns what came of it, and the hosts' requests that it brought about */
async function tried(verifier: Verifier, document: Buffer) {
  const { world } = house;
  const [asked, unknown] = [world.requests.length, world.unknownNames.length];
  const found = await outcome(verifier, shown(document));
  const requests = world.requests.slice(asked).map(({ host, path }) => `${host}${path}`);
  return { found, requests, unknownNames: world.unknownNames.slice(unknown) };
}

describe('the signer of a document', () => {
  const accepted: Readonly<Record<string, Partial<CertificateOptions>>> = {
    'the public cloud': { dnsNames: ['westeurope.metadata.azure.com'] },
    'US Government': { dnsNames: ['metadata.azure.us', 'usgovvirginia.metadata.azure.us'] },
    'the cloud of 21Vianet': { dnsNames: ['chinaeast2.metadata.azure.cn'] },
    'a name in capitals': { dnsNames: ['Metadata.Azure.com'] },
    'one of several names': { dnsNames: ['example.com', 'metadata.azure.com'] },
    'no word of what it is for': { extendedKeyUsage: [] },
  };
  for (const [what, more] of Object.entries(accepted)) {
    test(`may be of ${what}`, async (t) => {
      const { verifier } = await openAzureVerifier(t, house);
      const { found } = await tried(verifier, message(await certificate(more)));
      assert.ok(typeof found !== 'string', String(found));
    });
  }

  const unlike = /the certificate of its signer cannot be used: it is not for metadata\.azure\.com, /;
  const rows: Readonly<Record<string, readonly [Partial<CertificateOptions>, RegExp]>> = {
    'a name that ends alike': [{ dnsNames: ['evilmetadata.azure.com'] }, unlike],
    'a name that begins alike': [{ dnsNames: ['metadata.azure.com.evil.com'] }, unlike],
    'another service of Azure': [{ dnsNames: ['management.azure.com'] }, unlike],
    'the domain above': [{ dnsNames: ['azure.com'] }, unlike],
    'a point at the end': [{ dnsNames: ['metadata.azure.com.'] }, unlike],
    'the name as a common name alone': [{ dnsNames: ['example.com'] }, unlike],
    'no alternative names': [{ dnsNames: undefined as never }, unlike],
    'a name with another in it': [{ dnsNames: ['evil.com\u0000.metadata.azure.com'] }, unlike],
    'an end that has come': [
      { notBefore: Date.now() - 2 * hour, notAfter: Date.now() - hour },
      /cannot be used: it is valid from .* to /,
    ],
    'a beginning to come': [{ notBefore: Date.now() + hour }, /cannot be used: it is valid from .* to /],
    'an authority': [{ ca: true }, /cannot be used: it is the certificate of an authority/],
    'a key that is not for signatures': [
      { keyUsage: x509.KeyUsageFlags.keyEncipherment },
      /its key usage is not for signatures/,
    ],
    'a certificate for clients': [
      { extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'] },
      /its extended key usage is not for servers/,
    ],
    'a critical extension that nobody knows': [
      { more: [new x509.Extension('1.2.3.4', true, new Uint8Array([5, 0]))] },
      /it has a critical extension that is not understood/,
    ],
  };
  for (const [what, [more, reason]] of Object.entries(rows)) {
    test(`is refused, and nothing fetched, with ${what}: ${reason.source}`, async (t) => {
      const { verifier } = await openAzureVerifier(t, house);
      const { found, requests } = await tried(verifier, message(await certificate(more)));
      assert.match(String(found), new RegExp(`^UNAUTHORIZED.*${reason.source}`));
      assert.deepEqual(requests, []);
    });
  }
});

describe('who signed is not who is shown (SPIRE 1.15.1)', () => {
  const forged = (more: Partial<CertificateOptions> = {}) =>
    issueCertificate({
      subject: 'CN=metadata.azure.com',
      keysOf: 'mallory',
      dnsNames: metadataNames,
      ...more,
    });
  const rows: Readonly<Record<string, readonly [make: () => Promise<Buffer>, reason: RegExp]>> = {
    'a good certificate first, and a signer of another name': [
      async () => {
        const signer = await certificate({ dnsNames: ['evil.com'], keysOf: 'mallory' });
        return message(signer, { certificates: [house.signer, signer] });
      },
      /it is not for metadata\.azure\.com/,
    ],
    'a good certificate first, and a signer that signed itself': [
      async () => {
        const signer = await forged();
        return message(signer, { certificates: [house.signer, signer] });
      },
      /its authority "metadata\.azure\.com" is not known/,
    ],
    'a good certificate named as the signer, and another key': [
      async () => message(house.signer, { key: (await forged()).key }),
      /the signature of the document is not by its signer's key/,
    ],
    'the signer not in it': [
      async () => message(await forged(), { certificates: [house.signer] }),
      /the certificate of its signer is not in it/,
    ],
    'no certificate': [
      async () => message(house.signer, { certificates: [] }),
      /the certificate of its signer is not in it/,
    ],
    'two with the issuer and number of the signer': [
      async () => {
        const serialNumber = '40aa';
        const good = await certificate({ serialNumber });
        const bad = await forged({ serialNumber, issuer: issuingName });
        return message(bad, { certificates: [good, bad] });
      },
      /it has several certificates of its signer/,
    ],
    'the issuer and number of a good one, by another key': [
      async () => message(await forged({ issuer: issuingName, aia: [urlOf('Test TLS G2 RSA CA OCSP 02')] })),
      /it is not by the authority "Test TLS G2 RSA CA OCSP 02" that it names/,
    ],
  };
  for (const [what, [make, reason]] of Object.entries(rows)) {
    test(`${what}: ${reason.source}`, async (t) => {
      const { verifier } = await openAzureVerifier(t, house);
      const { found } = await tried(verifier, await make());
      assert.match(String(found), new RegExp(`^UNAUTHORIZED.*${reason.source}`));
    });
  }
});

describe('the way to a root', () => {
  /** A document by a certificate of this authority, with these embedded. */
  const by = async (issuer: Issued, ...others: Issued[]) => {
    const signer = await certificate({ by: issuer, aia: undefined as never });
    return message(signer, { certificates: [signer, issuer, ...others] });
  };
  /** Publicly trusted ones exist: they may issue for a domain of their owner's alone. */
  const constrained = async (critical: boolean) => {
    const domain = element(0x82, Buffer.from('customer.example'));
    const permitted = element(0x30, element(0xa0, element(0x30, domain)));
    const more = [new x509.Extension('2.5.29.30', critical, permitted)];
    return by(await unlimited('Constrained', house.authorities.root, { more }));
  };
  const unlimited = async (name: string, above: Issued, more: Partial<CertificateOptions> = {}) =>
    authority(name, above, more);

  test('may be in the document', async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    const { issuing, crossSigned } = house.authorities;
    const { found, requests } = await tried(verifier, await by(issuing, crossSigned));
    assert.ok(typeof found !== 'string', String(found));
    assert.deepEqual(requests, []);
  });

  test('may be in a file', async (t) => {
    const { issuing, crossSigned } = house.authorities;
    house.write('between.pem', `${issuing.pem}${crossSigned.pem}`);
    const { verifier } = await openAzureVerifier(t, house, { intermediates: 'between.pem' });
    const { found, requests } = await tried(verifier, documentOf(house));
    assert.ok(typeof found !== 'string', String(found));
    assert.deepEqual(requests, []);
  });

  test('does not end at a root of Microsoft’s own that is embedded, and certified by ours as well', async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    const { issuing, crossSigned } = house.authorities;
    const own = await issueCertificate({ subject: crossSigned.subject, ca: true, extendedKeyUsage: [] });
    const { found, requests } = await tried(verifier, await by(issuing, own));
    assert.ok(typeof found !== 'string', String(found));
    assert.deepEqual(requests, [`${publisher}${publishedAt('Test TLS RSA Root G2 - xsign')}`]);
  });

  const rows: Readonly<Record<string, readonly [make: () => Promise<Buffer>, reason: RegExp]>> = {
    'another root': [
      async () => {
        const root = await mallory();
        return by(await authority('Mallory CA', root), root);
      },
      /its authority "Mallory Root" is not known/,
    ],
    'another root with the names of ours': [
      async () => {
        const { subject } = house.authorities.root;
        const root = await issueCertificate({ subject, keysOf: 'mallory', ca: true });
        return by(await authority('Mallory CA', root), root);
      },
      /its authority "Test Global Root G2" is not known/,
    ],
    'a certificate of a metadata service that acts as an authority': [
      async () => by(await certificate({ keysOf: 'mallory' })),
      /its authority "metadata\.azure\.com" is not known/,
    ],
    'one in between that is no authority, and says it may sign': [
      async () => {
        const no = await issueCertificate({
          subject: 'CN=No Authority',
          by: house.authorities.issuing,
          keyUsage: x509.KeyUsageFlags.keyCertSign,
          dnsNames: metadataNames,
        });
        return by(no);
      },
      /the certificate of its authority "No Authority": it is not the certificate of an authority/,
    ],
    'an authority below one that may have none below it': [
      async () => {
        const { issuing, crossSigned } = house.authorities;
        return by(await authority('Below', issuing), issuing, crossSigned);
      },
      /authority "Test TLS G2 RSA CA OCSP 02": it may not have so many authorities below it/,
    ],
    'too many authorities': [
      async () => {
        const { root } = house.authorities;
        const a = await unlimited('A', root);
        const b = await unlimited('B', a);
        const c = await unlimited('C', b);
        return by(await unlimited('D', c), c, b);
      },
      /its certificate leads to no root by 3 authorities/,
    ],
    'an authority that has ended': [
      async () => {
        const ended = { notBefore: Date.now() - 2 * hour, notAfter: Date.now() - hour };
        return by(await unlimited('Ended', house.authorities.root, ended));
      },
      /the certificate of its authority "Ended": it is valid from /,
    ],
    'an authority whose key is not for certificates': [
      async () =>
        by(await unlimited('Wrong', house.authorities.root, { keyUsage: x509.KeyUsageFlags.cRLSign })),
      /its authority "Wrong" is not known/,
    ],
    'an authority for clients': [
      async () =>
        by(await unlimited('Clients', house.authorities.root, { extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'] })),
      /"Clients": its extended key usage is not for servers/,
    ],
    'an authority with an extension that nobody knows': [
      async () => {
        const more = [new x509.Extension('1.2.3.4', true, new Uint8Array([5, 0]))];
        return by(await unlimited('Unknown', house.authorities.root, { more }));
      },
      /"Unknown": it has a critical extension that is not understood/,
    ],
    'an authority for the names of somebody': [
      () => constrained(true),
      /"Constrained": it has name constraints, which are not enforced here/,
    ],
    'an authority for the names of somebody, for those who understand that': [
      () => constrained(false),
      /"Constrained": it has name constraints, which are not enforced here/,
    ],
    'more certificates than there can be on it': [
      async () => {
        const { issuing, crossSigned } = house.authorities;
        return by(issuing, crossSigned, issuing, crossSigned);
      },
      /it has more than 4 certificates in it/,
    ],
    'a name that would be a line of the log': [
      async () => {
        const root = await issueCertificate({ subject: 'CN=a\\0Ab', keysOf: 'mallory', ca: true });
        return by(await authority('Mallory CA', root));
      },
      /its authority "a/,
    ],
  };
  for (const [what, [make, reason]] of Object.entries(rows)) {
    test(`is refused: ${what}: ${reason.source}`, async (t) => {
      const { verifier } = await openAzureVerifier(t, house);
      const { found } = await tried(verifier, await make());
      assert.match(String(found), new RegExp(`^UNAUTHORIZED.*${reason.source}`));
    });
  }

  test('ends at a root that is still good', async (t) => {
    const { subject } = house.authorities.root;
    const ended = { notBefore: Date.now() - 2 * hour, notAfter: Date.now() - hour };
    const root = await issueCertificate({ subject, ca: true, extendedKeyUsage: [], ...ended });
    house.write('ended.pem', root.pem);
    const { verifier } = await openAzureVerifier(t, house, { roots: 'ended.pem' });
    const { found } = await tried(verifier, documentOf(house));
    assert.match(
      String(found),
      /^UNAUTHORIZED.*the root that its certificate leads to cannot be used: it is valid/,
    );
  });
});

describe('a key that anybody can make, so that its use takes long, is not used', () => {
  const longest = madeUpRsaKey({ bits: 3072, exponent: 2n ** 3071n + 1n });
  const largest = madeUpRsaKey({ bits: 16384, exponent: 2n ** 63n + 1n });
  const nobody = { subject: 'CN=Nobody', issuer: 'CN=Somebody', ca: true } as const;
  const path = publishedAt('nobody');
  const forged = (more: Partial<CertificateOptions> = {}) =>
    issueCertificate({
      ...{ subject: 'CN=metadata.azure.com', keysOf: 'mallory', dnsNames: metadataNames },
      ...{ issuer: nobody.subject, ...more },
    });
  const rows: Readonly<Record<string, readonly [make: () => Promise<Buffer>, reason: RegExp]>> = {
    'that of the signer': [
      async () => message(await forged({ publicKey: longest })),
      /the certificate of its signer cannot be used: its RSA key has a public exponent over 2\^32/,
    ],
    'that of the signer, of many bits': [
      async () => message(await forged({ publicKey: largest })),
      /the certificate of its signer cannot be used: its RSA key has 16384 bits, over 8192/,
    ],
    'that of an authority in the document': [
      async () => {
        const signer = await forged();
        const authorities = [longest, largest].map((publicKey) => issueCertificate({ ...nobody, publicKey }));
        return message(signer, { certificates: [signer, ...(await Promise.all(authorities))] });
      },
      /the certificate of its authority "Nobody": its RSA key has a public exponent over 2\^32/,
    ],
    'that of an authority that is fetched': [
      async () => {
        house.authorities.published.set(
          path,
          (await issueCertificate({ ...nobody, publicKey: longest })).der,
        );
        return message(await forged({ aia: [urlOf('nobody')] }));
      },
      /the certificate of its authority "Nobody": its RSA key has a public exponent over 2\^32/,
    ],
  };
  for (const [what, [make, reason]] of Object.entries(rows)) {
    test(`${what}: ${reason.source}`, async (t) => {
      const { verifier } = await openAzureVerifier(t, house);
      // Where it was used first, it would be said that the signature is not by it.
      const { found } = await tried(verifier, await make());
      assert.match(String(found), new RegExp(`^UNAUTHORIZED.*${reason.source}`));
    });
  }
});

describe('an authority that is fetched', () => {
  const issuingPath = publishedAt('Test TLS G2 RSA CA OCSP 02');
  const both = [issuingPath, publishedAt('Test TLS RSA Root G2 - xsign')].map(
    (path) => `${publisher}${path}`,
  );

  test('is asked for once for many logins', async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    const asked = house.world.requests.length;
    for (let i = 0; i < 3; i++) {
      const found = await Promise.all(
        Array.from({ length: 8 }, () => outcome(verifier, shown(documentOf(house)))),
      );
      assert.ok(
        found.every((one) => typeof one !== 'string'),
        String(found[0]),
      );
    }
    const requests = house.world.requests.slice(asked).map(({ host, path }) => `${host}${path}`);
    assert.deepEqual(requests, both);
  });

  const elsewhere: readonly string[] = [
    'http://evil.example.com/pkiops/certs/x.crt',
    'http://www.microsoft.com.evil.com/pkiops/certs/x.crt',
    'http://evilwww.microsoft.com/pkiops/certs/x.crt',
    'http://www.microsoft.com:8080/pkiops/certs/x.crt',
    'http://www.microsoft.com@evil.com/pkiops/certs/x.crt',
    'http://user:password@www.microsoft.com/pkiops/certs/x.crt',
    'http://169.254.169.254/pkiops/certs/x.crt',
    'http://localhost/pkiops/certs/x.crt',
    'ftp://www.microsoft.com/pkiops/certs/x.crt',
    'file:///pkiops/certs/x.crt',
    'ldap://www.microsoft.com/pkiops/certs/x.crt',
    'http://www.microsoft.com/pkiops/certs/x.crt?to=evil',
    'http://www.microsoft.com/pkiops/certs/../../evil',
    'http://www.microsoft.com/en-us/',
    'www.microsoft.com/pkiops/certs/x.crt',
    '',
  ];
  for (const url of elsewhere) {
    test(`is asked for nowhere else: ${url || 'nothing'}`, async (t) => {
      const { verifier } = await openAzureVerifier(t, house);
      const { found, ...asked } = await tried(verifier, message(await certificate({ aia: [url] })));
      assert.match(String(found), /^UNAUTHORIZED.*is not said to be at www\.microsoft\.com/);
      assert.deepEqual(asked, { requests: [], unknownNames: [] });
    });
  }

  test('is asked for by https whatever the certificate says, and at the second place where the first has none', async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    const aia = ['http://evil.example.com/x.crt', urlOf('gone'), urlOf('Test TLS G2 RSA CA OCSP 02')];
    const { found, requests } = await tried(verifier, message(await certificate({ aia })));
    assert.ok(typeof found !== 'string', String(found));
    assert.deepEqual(requests, [`${publisher}${publishedAt('gone')}`, ...both]);
  });

  /** What stands at the place of the authority, for one test. */
  function publish(t: TestContext, bytes: Buffer | undefined): void {
    const { published } = house.authorities;
    const before = published.get(issuingPath);
    if (bytes === undefined) published.delete(issuingPath);
    else published.set(issuingPath, bytes);
    t.after(() => void published.set(issuingPath, before ?? Buffer.alloc(0)));
  }

  for (const [what, bytes, reason] of [
    ['nothing there', () => undefined, /crt answered 404/],
    ['an empty file', () => Buffer.alloc(0), /crt is not the certificate of an authority/],
    ['a page', () => Buffer.from('<html>'), /crt is not the certificate of an authority/],
    ['a giant', () => Buffer.alloc(20_000, 0x30), /crt is not the certificate of an authority/],
    ['more than is read', () => Buffer.alloc(2 * 1024 * 1024), /the answer is larger|no answer from www/],
    ['a certificate of no authority', () => house.signer.der, /crt is not the certificate of an authority/],
  ] as const) {
    test(`cannot be had: ${what}: ${reason.source}`, async (t) => {
      publish(t, bytes());
      const { verifier } = await openAzureVerifier(t, house);
      const { found } = await tried(verifier, documentOf(house));
      const wanted = `^UNAVAILABLE the certificate of "Test TLS G2 RSA CA OCSP 02" cannot be had: .*${reason.source}`;
      assert.match(String(found), new RegExp(wanted));
    });
  }

  test('cannot be had by a redirect, which is not followed', async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    const end = house.world.intercept(({ record, response }) => {
      if (record.host !== publisher) return false;
      response.writeHead(302, { location: 'https://login.microsoftonline.com/x.crt' }).end();
      return true;
    });
    t.after(end);
    const { found, requests } = await tried(verifier, documentOf(house));
    assert.match(String(found), /^UNAVAILABLE.*answered 302; redirects are not followed/);
    assert.deepEqual(requests, [both[0]]);
  });

  test('that is another one’s is no reason to let anybody in', async (t) => {
    const root = await mallory();
    publish(t, root.der);
    const { verifier } = await openAzureVerifier(t, house);
    const { found } = await tried(verifier, documentOf(house));
    assert.match(String(found), /^UNAUTHORIZED.*it is not by the authority "Test TLS G2 RSA CA OCSP 02"/);
  });

  test('is not asked for again at once where there was no answer, and is half a minute later', async (t) => {
    const own = await openAzureIdentityHouse(t);
    const { published } = own.authorities;
    const kept = published.get(issuingPath) ?? Buffer.alloc(0);
    published.delete(issuingPath);
    const { verifier } = await openAzureVerifier(t, own);
    for (let i = 0; i < 3; i++)
      assert.match(String(await outcome(verifier, shown(documentOf(own)))), /^UNAVAILABLE.*answered 404/);
    assert.equal(own.world.requestsTo(publisher).length, 1);
    published.set(issuingPath, kept);
    own.clock.advance(31_000);
    const found = await outcome(verifier, shown(documentOf(own)));
    assert.ok(typeof found !== 'string', String(found));
  });

  test('is not kept from others by who names its place for a certificate of their own', async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    const bad = { subject: 'CN=metadata.azure.com', keysOf: 'mallory', dnsNames: metadataNames };
    const forged = await issueCertificate({
      ...bad,
      ...{ issuer: issuingName, aia: [urlOf('Test TLS G2 RSA CA OCSP 02')] },
    });
    assert.match(String((await tried(verifier, message(forged))).found), /^UNAUTHORIZED.*it is not by/);
    const { found } = await tried(verifier, documentOf(house));
    assert.ok(typeof found !== 'string', String(found));
  });

  test('is asked for again after a day, and serves on where there is no answer', async (t) => {
    const own = await openAzureIdentityHouse(t);
    const { verifier } = await openAzureVerifier(t, own);
    const login = async () => {
      const found = await outcome(verifier, shown(documentOf(own)));
      assert.ok(typeof found !== 'string', String(found));
    };
    await login();
    assert.equal(own.world.requestsTo(publisher).length, 2);
    own.clock.advance(25 * hour);
    await login();
    assert.equal(own.world.requestsTo(publisher).length, 4);
    own.clock.advance(25 * hour);
    own.world.remove(publisher);
    await login();
  });
});
