import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Clock } from '../contracts/index.js';
import { certifyNewKey, createAuthority } from './certificate-authority.js';
import type { KeySet } from './key-set.js';
import { certificatesOf, signingKey } from './signing-key.js';

/** One key that lives as long as this process. */
export async function openEphemeralKeys(clock: Clock): Promise<KeySet> {
  const { privateKey, certificate } = await createAuthority(clock.now());
  const made = await certifyNewKey({ privateKey: createPrivateKey(privateKey), certificate }, clock.now());
  const key = await signingKey(createPrivateKey(made.privateKey), certificatesOf(made.certificate));
  const authorities = [new X509Certificate(certificate)];
  return {
    signing: () => key,
    published: () => [key],
    authorities: () => authorities,
    lookAgain: async () => undefined,
    close: async () => undefined,
  };
}
