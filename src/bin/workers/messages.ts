import type { StateEntry, StateStore } from '../../contracts/index.js';
import type { LoginFailure } from '../../decorators/throttle-verifier.js';
import type { MetricsSnapshot } from '../../observability/prometheus-metrics.js';
import type { BoundAddress } from '../servers.js';

/** A call of a StateStore as JSON carries it: without its signal. */
export type StateCall = {
  readonly [K in Exclude<keyof StateStore, 'close'>]: { readonly call: K; readonly args: readonly unknown[] };
}[Exclude<keyof StateStore, 'close'>];

export type StateAnswer =
  | { readonly value?: StateEntry | readonly StateEntry[] | boolean }
  /** `reason` goes to the log; a RegistryError UNAVAILABLE is made of it. */
  | { readonly reason: string };

/** What a worker says to the process that started it. */
export type FromWorker =
  /** It waits for `begin`. */
  | { readonly kind: 'born' }
  | { readonly kind: 'serving'; readonly address: BoundAddress; readonly redirectAddress?: BoundAddress }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'state'; readonly id: number; readonly asked: StateCall }
  | { readonly kind: 'login-failure'; readonly failure: LoginFailure }
  | { readonly kind: 'metrics'; readonly id: number; readonly snapshot: MetricsSnapshot }
  | {
      readonly kind: 'reloaded';
      readonly id: number;
      /** Settings that are left as they were until a restart. */
      readonly later?: readonly string[];
      /** Why the earlier configuration stays. */
      readonly reason?: string;
    };

/** What a worker is told. */
export type ToWorker =
  | {
      readonly kind: 'begin';
      /** From 1; who replaces another has its number. */
      readonly number: number;
      /** Of the throttle: Base64. */
      readonly throttleKey: string;
    }
  | { readonly kind: 'state'; readonly id: number; readonly answer: StateAnswer }
  | { readonly kind: 'login-failure'; readonly failure: LoginFailure }
  | { readonly kind: 'metrics'; readonly id: number }
  | { readonly kind: 'reload'; readonly id: number }
  | { readonly kind: 'reopen' }
  | { readonly kind: 'stop' };
