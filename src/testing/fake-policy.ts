import type { CallOptions } from '../contracts/call-options.js';
import type { Decision, Policy, RequestContext } from '../contracts/policy.js';
import type { Principal } from '../contracts/principal.js';
import { RegistryError } from '../errors.js';
import type { Action, Scope } from '../reference/scope.js';

/** What the fake is told to allow; the answer may name more than was wanted. */
export type Allow = (who: Principal, wanted: Scope, request: RequestContext) => readonly Action[];

/** Decides by a function, changed at any time; nothing is allowed without one. */
export class FakePolicy implements Policy {
  allow: Allow;
  /** What it was asked, in order. */
  readonly asked: {
    readonly who: Principal;
    readonly wanted: readonly Scope[];
    readonly request: RequestContext;
  }[] = [];
  /** True: it answers UNAVAILABLE. */
  broken = false;
  closed = false;

  constructor(allow: Allow = () => []) {
    this.allow = allow;
  }

  async decide(
    who: Principal,
    wanted: readonly Scope[],
    request: RequestContext,
    o: CallOptions,
  ): Promise<readonly Decision[]> {
    o.signal.throwIfAborted();
    this.asked.push({ who, wanted, request });
    if (this.broken) throw new RegistryError('UNAVAILABLE', { reason: 'the policy is broken' });
    return wanted.map((scope) => {
      const allowed = this.allow(who, scope, request);
      const granted = scope.actions.filter((action) => allowed.includes(action));
      return { wanted: scope, granted, ...(granted.length > 0 && { rule: 'fake' }) };
    });
  }

  relevant(who: Principal): Principal {
    return who;
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}
