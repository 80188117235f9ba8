import type { Principal } from '../contracts/index.js';

/** Who signed in: the name, and the verifier it belongs to. */
export type Person = Pick<Principal, 'verifier' | 'name'>;

/** As one text that no two people share. */
export function personKey({ verifier, name }: Person): string {
  return JSON.stringify([verifier, name]);
}
