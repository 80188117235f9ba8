import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createAuthority } from '../testing/certificates.js';
import { certificateLife, certificateWarning } from './certificate-life.js';

describe('the life of a certificate', () => {
  test('is told where it is over, or has not begun', async () => {
    const { certificate } = await createAuthority();
    const { begin, end } = certificateLife(certificate);
    assert.ok(begin < Date.now() && Date.now() < end, `${begin} to ${end}`);
    assert.equal(certificateWarning(certificate, Date.now()), undefined);
    assert.equal(certificateWarning(certificate, end - 1), undefined);
    assert.match(certificateWarning(certificate, end) ?? '', /^the certificate has expired on \d{4}-/);
    assert.match(
      certificateWarning(certificate, begin - 1) ?? '',
      /^the certificate is not valid before \d{4}-/,
    );
  });
});
