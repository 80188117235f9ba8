import type { Action, Scope } from '../reference/scope.js';
import type { CallOptions, Closable } from './call-options.js';
import type { Principal } from './principal.js';

/** What a decision may depend on beside who and what. */
export interface RequestContext {
  /** The audience: the served host (`docker.example.com`), or another registry this proxy issues tokens for. */
  readonly service: string;
  /** The client's IP address. */
  readonly address: string;
  /** Milliseconds since the epoch; absent: now. */
  readonly time?: number;
}

/** The answer for one scope. */
export interface Decision {
  readonly wanted: Scope;
  /** Of the wanted actions those allowed; never more than was wanted. */
  readonly granted: readonly Action[];
  /** The rule that granted, for logs and `explain`; for several the first that granted something. */
  readonly rule?: string;
}

/** Decides what a principal may do. Nothing is allowed that nothing allows. */
export interface Policy extends Closable {
  /**
   * @param wanted canonical names
   * @returns one decision a scope, in the same order
   * @throws RegistryError UNAVAILABLE where it cannot decide now. It never fails open.
   */
  decide(
    who: Principal,
    wanted: readonly Scope[],
    request: RequestContext,
    o: CallOptions,
  ): Promise<readonly Decision[]>;

  /** The principal without groups and attributes that no rule speaks of: what is worth carrying in a token. It never has a `credentialVersion`. */
  relevant(who: Principal): Principal;
}
