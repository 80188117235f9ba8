import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { createAuthority } from '../testing/certificates.js';
import { forwardedCertificate } from './forwarded-certificate.js';

let pem: string;
let other: string;
let der: Buffer;
before(async () => {
  [pem, other] = (await Promise.all([createAuthority(), createAuthority()])).map(
    (one) => one.certificate,
  ) as [string, string];
  der = new X509Certificate(pem).raw;
});

/** As nginx and Envoy do, which leave no `+`, `/` and `=`. */
const encoded = (text: string) => encodeURIComponent(text);
/** As AWS does, which leaves them. */
const ofAws = (text: string) => encoded(text).replace(/%(2B|2F|3D)/g, (one) => decodeURIComponent(one));
const base64 = () => der.toString('base64');
const quoted = (text: string) => `"${encoded(text)}"`;

describe('a certificate in a header', () => {
  for (const [what, write] of [
    ['nginx', () => encoded(pem)],
    ['nginx, with a line break at the end', () => encoded(`${pem}\n`)],
    ['AWS', () => ofAws(pem)],
    ['AWS with the chain', () => ofAws(`${pem}\n${other}`)],
    ['HAProxy', () => base64()],
    ['Traefik, URL-encoded', () => encoded(base64())],
    ['RFC 9440', () => `:${base64()}:`],
    ['Envoy', () => `Hash=ab12;Cert=${quoted(pem)}`],
    ['Envoy, the certificate first', () => `Cert=${quoted(pem)};Subject="CN=a";URI=spiffe://a/b`],
    ['Envoy, with a chain', () => `Cert=${quoted(pem)};Chain=${quoted(pem + other)}`],
    ['Envoy, in lower case and unquoted', () => `by=a;cert=${encoded(pem)}`],
    ['Envoy, separators in quotes', () => `Subject="CN=a,\\"O=b;Cert=x\\"";Cert=${quoted(pem)}`],
  ] as const) {
    test(`of ${what} is understood`, () => {
      const read = forwardedCertificate(write());
      assert.ok(typeof read !== 'string', String(read));
      assert.deepEqual(new X509Certificate(read).raw, der);
    });
  }

  for (const [what, write, expected] of [
    ['several hops', () => `Cert=${quoted(other)},Cert=${quoted(pem)}`, /several hops/],
    ['several hops, one without', () => `Cert=${quoted(pem)},By=spiffe://a/b`, /several hops/],
    ['Envoy without a certificate', () => 'By=a;Hash=b;Subject="Cert=x"', /0 certificates/],
    ['Envoy with two', () => `Cert=${quoted(other)};Cert=${quoted(pem)}`, /2 certificates/],
    ['a quote that does not end', () => `Cert="${encoded(pem)}`, /quote/],
    ['two, joined', () => `${base64()},${base64()}`, /none of the forms/],
    ['two, joined, URL-encoded', () => `${encoded(other)}, ${encoded(pem)}`, /none of the forms/],
    ['text before it', () => encoded(`x${pem}`), /none of the forms/],
    ['text behind it', () => encoded(`${pem}x`), /none of the forms/],
    ['a key', () => encoded(pem.replaceAll('CERTIFICATE', 'PRIVATE KEY')), /none of the forms/],
    ['a distinguished name', () => 'CN=alice,O=Example', /none of the forms/],
    ['broken URL encoding', () => '%zz', /URL encoding/],
    ['base64 with spaces', () => base64().replace(/^.{8}/, '$& '), /none of the forms/],
    ['an empty item', () => '::', /none of the forms/],
    ['an item with parameters', () => `:${base64()}:;a=b`, /none of the forms/],
    ['nothing', () => '', /none of the forms/],
  ] as const) {
    test(`${what}: ${expected}`, () => {
      const read = forwardedCertificate(write());
      assert.match(typeof read === 'string' ? read : 'understood', expected);
    });
  }

  test('is read or refused, whatever it is, and a refusal quotes nothing', () => {
    const piece = fc.constantFrom('Cert=', '"', ';', ',', '\\', ':', '%', '%41', 'hunter2', '=', ' ', 'By=');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        const read = forwardedCertificate(pieces.join(''));
        assert.ok(typeof read !== 'string' || !read.includes('hunter2'), String(read));
      }),
    );
  });
});
