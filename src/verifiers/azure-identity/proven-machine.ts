import type { Principal } from '../../contracts/principal.js';

/** What a proof says that was verified. */
export interface ProvenMachine extends Pick<Principal, 'name' | 'attributes'> {
  /** Milliseconds since the epoch. Clocks may differ: it is accepted for `clockSkew` longer. */
  readonly expiresAt: number;
  /** Of what is signed in it: the same for every spelling of the same proof. */
  readonly digest: string;
}
