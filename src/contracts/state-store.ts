import type { CallOptions, Closable } from './call-options.js';

/** A value with its version, for compareAndSet. */
export interface StateEntry {
  readonly key: string;
  readonly value: string;
  /** Differs whenever the value was put, even the same value. */
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number;
}

/**
 * Small shared state: refresh and personal tokens, first-use bindings, throttles. Keys are printable ASCII without
 * spaces, up to 512 characters; values are text up to 64 KiB. An expired entry is gone for every call.
 */
export interface StateStore extends Closable {
  /** @throws RegistryError UNAVAILABLE, as every call here does where the store cannot be reached or written */
  get(key: string, o: CallOptions): Promise<StateEntry | undefined>;

  /** Durable when it resolves. @param ttl milliseconds; without it the entry stays */
  put(key: string, value: string, o: CallOptions & { readonly ttl?: number }): Promise<void>;

  /**
   * Puts only where the entry still has this version; `undefined` means: only where there is none.
   *
   * @returns whether it was put
   */
  compareAndSet(
    key: string,
    version: string | undefined,
    value: string,
    o: CallOptions & { readonly ttl?: number },
  ): Promise<boolean>;

  /** Deleting what is not there is fine. */
  delete(key: string, o: CallOptions): Promise<void>;

  /** All entries whose key begins with `prefix`, in the order of their keys. */
  list(prefix: string, o: CallOptions): Promise<readonly StateEntry[]>;
}
