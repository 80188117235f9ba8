import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import { rootCertificates } from 'node:tls';
import { bundledRoots } from './roots.js';

// What Node.js brings along; each root issued itself.

const all = rootCertificates.map((pem) => new X509Certificate(pem));
const named = (name: string) => {
  const found = all.find(({ subject }) => subject.split('\n').includes(`CN=${name}`));
  assert.ok(found, `${name} is not in the bundle`);
  return found;
};

describe('the roots that attested documents must lead to', () => {
  const roots = bundledRoots();

  for (const name of [
    'DigiCert Global Root G2',
    'DigiCert TLS RSA4096 Root G5',
    'Microsoft RSA Root Certificate Authority 2017',
  ]) {
    test(`have ${name}`, () => {
      const root = named(name);
      const [issuer] = roots.issuersOf(root);
      assert.equal(issuer?.fingerprint256, root.fingerprint256);
    });
  }

  for (const name of ['ISRG Root X1', 'GTS Root R1', 'Amazon Root CA 1']) {
    test(`do not have ${name}`, () => assert.deepEqual(roots.issuersOf(named(name)), []));
  }

  test('are of DigiCert and Microsoft alone', () => {
    const trusted = all.filter((root) => roots.issuersOf(root).length > 0);
    assert.ok(trusted.length >= 5, `${trusted.length} roots`);
    for (const { subject } of trusted) assert.match(subject, /^O=(?:DigiCert|Microsoft)/m);
  });
});
