import type { AttributeValue, Principal, RequestContext } from '../../contracts/index.js';
import type { Action } from '../../reference/scope.js';
import { plainAddress } from '../../settings/address-range.js';

type Value = bigint | AttributeValue;

/** `principal` in a condition. */
export class PrincipalValue {
  static readonly fields = {
    verifier: 'string',
    name: 'string',
    kind: 'string',
    groups: 'list<string>',
    attributes: 'map<string, dyn>',
  } as const;
  readonly verifier: string;
  readonly name: string;
  readonly kind: string;
  readonly groups: readonly string[];
  readonly attributes: ReadonlyMap<string, Value>;

  constructor({ verifier, name, kind, groups, attributes }: Principal) {
    this.verifier = verifier;
    this.name = name;
    this.kind = kind;
    this.groups = groups;
    this.attributes = new Map(Object.entries(attributes).map(([key, value]) => [key, celValue(value)]));
  }
}

/** `request` in a condition. */
export class RequestValue {
  static readonly fields = {
    service: 'string',
    address: 'string',
    time: 'google.protobuf.Timestamp',
  } as const;
  readonly service: string;
  readonly address: string;
  readonly time: Date;

  /** @param now milliseconds since the epoch, for a request without a time of its own */
  constructor({ service, address, time }: RequestContext, now: number) {
    this.service = service;
    this.address = plainAddress(address);
    this.time = new Date(time ?? now);
  }
}

/** What one condition is asked about. */
export type Variables = {
  readonly principal: PrincipalValue;
  readonly request: RequestValue;
  readonly repository: string;
  readonly action: Action;
};

/** CEL tells `int` from `double`, JSON does not: a whole number is an `int`, as in Kubernetes. */
function celValue(value: AttributeValue): Value {
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
}
