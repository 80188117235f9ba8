import assert from 'node:assert/strict';
import type { Policy, RequestContext } from '../../contracts/policy.js';
import type { Principal } from '../../contracts/principal.js';
import { type Action, actions, type Scope } from '../../reference/scope.js';
import {
  closesTwice,
  closing,
  type MakeSubject,
  options,
  rejectsWhenAborted,
  rejectsWith,
  type SubjectTest,
  suite,
} from './suite.js';

export interface PolicyCase {
  readonly who: Principal;
  readonly wanted: Scope;
  readonly request: RequestContext;
  /** Of the wanted actions exactly these. */
  readonly granted: readonly Action[];
}

export interface PolicySubject {
  readonly policy: Policy;
  /** Some that are granted something, and some that are not. */
  readonly cases: readonly PolicyCase[];
  /** Makes what it depends on unreachable: it is UNAVAILABLE then. */
  readonly break?: () => Promise<void> | void;
}

const o = options();

/** What every Policy promises. */
export function describePolicyConformance(
  name: string,
  make: MakeSubject<PolicySubject>,
  without: readonly string[] = [],
): void {
  suite(
    `Policy conformance: ${name}`,
    closing(make, ({ policy }) => policy),
    tests,
    without,
  );
}

const tests: Record<string, SubjectTest<PolicySubject>> = {
  'it grants what the cases say': async ({ policy, cases }) => {
    assert.ok(
      cases.some((one) => one.granted.length > 0) && cases.some((one) => one.granted.length === 0),
      'cases of both kinds are needed',
    );
    for (const { who, wanted, request, granted } of cases) {
      const [decision, ...more] = await policy.decide(who, [wanted], request, o);
      assert.deepEqual([decision?.wanted, decision?.granted, more], [wanted, granted, []]);
      if (granted.length === 0) assert.equal(decision?.rule, undefined);
    }
  },
  'it never grants more than was wanted': async ({ policy, cases }) => {
    for (const { who, wanted, request } of cases) {
      for (const action of actions) {
        const narrowed: Scope = { ...wanted, actions: [action] };
        const [decision] = await policy.decide(who, [narrowed], request, o);
        assert.ok(
          decision?.granted.every((granted) => granted === action),
          'more than was wanted',
        );
      }
      const nothing = await policy.decide(who, [{ ...wanted, actions: [] }], request, o);
      assert.deepEqual(nothing[0]?.granted, []);
    }
  },
  'one decision a scope, in the same order; none for none': async ({ policy, cases }) => {
    const [first] = cases;
    assert.ok(first, 'the subject names no case');
    const wanted = [...cases, ...cases].map((one) => one.wanted);
    const decisions = await policy.decide(first.who, wanted, first.request, o);
    assert.deepEqual(
      decisions.map((decision) => decision.wanted),
      wanted,
    );
    assert.deepEqual(await policy.decide(first.who, [], first.request, o), []);
  },
  'a principal that no rule names is granted nothing': async ({ policy, cases }) => {
    const stranger = 'nobody-has-this-name';
    const who: Principal = { verifier: stranger, name: stranger, kind: 'human', groups: [], attributes: {} };
    for (const { wanted, request } of cases) {
      const [decision] = await policy.decide(who, [wanted], request, o);
      assert.deepEqual(decision?.granted, []);
    }
  },
  'the relevant part of a principal is granted the same': async ({ policy, cases }) => {
    for (const { who, wanted, request, granted } of cases) {
      const relevant = policy.relevant(who);
      const { groups, attributes, ...identity } = relevant;
      assert.deepEqual({ ...who, ...identity }, who);
      assert.ok(
        groups.every((group) => who.groups.includes(group)),
        'groups that it never had',
      );
      assert.deepEqual({ ...who.attributes, ...attributes }, who.attributes);
      const [decision] = await policy.decide(relevant, [wanted], request, o);
      assert.deepEqual(decision?.granted, granted);
    }
  },
  'where it cannot decide it is UNAVAILABLE, and never open': async ({ policy, cases, break: breakIt }) => {
    const [first] = cases;
    assert.ok(breakIt && first, 'the subject cannot be broken: leave this test out by name');
    await breakIt();
    await rejectsWith(() => policy.decide(first.who, [first.wanted], first.request, o), 'UNAVAILABLE');
  },
  'an aborted call rejects with the reason': async ({ policy, cases }) => {
    const [first] = cases;
    assert.ok(first, 'the subject names no case');
    await rejectsWhenAborted((aborted) => policy.decide(first.who, [first.wanted], first.request, aborted));
  },
  'it can be closed twice': ({ policy }) => closesTwice(policy),
};
