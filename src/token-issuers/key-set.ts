import type { X509Certificate } from 'node:crypto';
import type { SigningKey } from './signing-key.js';

/** The keys of a token issuer at this moment. */
export interface KeySet {
  /** Signs what is issued now. */
  signing(): SigningKey;
  /** All whose signatures count, with those published before they sign. */
  published(): readonly SigningKey[];
  /** Anchors of the keys' certificates. */
  authorities(): readonly X509Certificate[];
  /** Looks for keys that another replica made meanwhile. At most once in a while: tokens with made-up ids are free. */
  lookAgain(): Promise<void>;
  close(): Promise<void>;
}
