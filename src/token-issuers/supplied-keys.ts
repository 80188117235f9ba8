import { createPrivateKey, type X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { KeySet } from './key-set.js';
import { certificatesOf, type SigningKey, signingKey } from './signing-key.js';

/** Keys that the operator supplies, the same for all replicas: the first signs, all verify. */
export async function openSuppliedKeys(paths: readonly string[]): Promise<KeySet> {
  const keys: SigningKey[] = [];
  const authorities: X509Certificate[] = [];
  for (const path of paths) {
    try {
      const pem = await readFile(path, 'utf8');
      const certificates = certificatesOf(pem);
      keys.push(await signingKey(createPrivateKey(pem), certificates));
      const anchor = certificates.at(-1);
      if (anchor !== undefined) authorities.push(anchor);
    } catch (error) {
      throw new Error(`cannot use the token key ${path}`, { cause: error });
    }
  }
  const [first] = keys;
  if (first === undefined) throw new Error('there is no token key');
  return {
    signing: () => first,
    published: () => keys,
    authorities: () => authorities,
    lookAgain: async () => undefined,
    close: async () => undefined,
  };
}
