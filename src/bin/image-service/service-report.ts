import type { LastAnswer, LastRefusal } from '../../decorators/refreshed-credentials.js';
import type { PullSnapshot } from '../../image-service/pull-register.js';
import type { OpenedRule } from './open-rules.js';

/** What `/pulls` says: JSON, without a secret. Times are ISO 8601. */
export interface ServiceReport extends PullSnapshot {
  /** By which a reader knows whom it asked. */
  readonly program: 'kubelet-image-service';
  readonly version: string;
  readonly startedAt: string;
  readonly runtime: {
    readonly type: string;
    readonly endpoint?: string;
    readonly connected: boolean;
    /** Why no image can be had from it, for people. */
    readonly problem?: string;
  };
  readonly rules: readonly RuleReport[];
}

/** A rule, and what came of asking for its credential last. */
export interface RuleReport {
  readonly name: string;
  /** The patterns; absent: of any. */
  readonly namespaces?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** The type of its credential source. */
  readonly source?: string;
  /** Absent where it was not asked yet. */
  readonly credential?: {
    readonly result: LastAnswer['result'];
    readonly at: string;
    readonly expiresAt?: string;
    readonly reason?: string;
  };
  /** A registry answered 401 to what the source gave, and has taken nothing since. */
  readonly refused?: { readonly at: string; readonly registry: string };
}

/** Characters of a reason. */
const maxReason = 500;

export function ruleReport({ rule, lastAnswer, lastRefusal }: OpenedRule): RuleReport {
  const { name, namespaces, annotations, credentials } = rule;
  const last = lastAnswer();
  const refusal = lastRefusal();
  return {
    name,
    ...(namespaces && { namespaces: namespaces.map(String) }),
    ...(annotations && {
      annotations: Object.fromEntries([...annotations].map(([key, one]) => [key, one.text])),
    }),
    ...(credentials && { source: credentials.type }),
    ...(last && { credential: credentialReport(last) }),
    ...(refusal && { refused: refusalReport(refusal) }),
  };
}

function refusalReport({ at, registry }: LastRefusal): NonNullable<RuleReport['refused']> {
  return { at: new Date(at).toISOString(), registry };
}

function credentialReport({
  result,
  at,
  expiresAt,
  reason,
}: LastAnswer): NonNullable<RuleReport['credential']> {
  return {
    result,
    at: new Date(at).toISOString(),
    ...(expiresAt !== undefined && { expiresAt: new Date(expiresAt).toISOString() }),
    ...(reason !== undefined && { reason: reason.slice(0, maxReason) }),
  };
}
