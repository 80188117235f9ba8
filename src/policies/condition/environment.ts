import { Environment } from '@marcbachmann/cel-js';
import { LRUCache } from 'lru-cache';
import { AddressRanges, isAddressRange } from '../../settings/address-range.js';
import { registerOwnFunctions } from './own-functions.js';
import { PrincipalValue, RequestValue } from './variables.js';

/** Ranges that are kept; they are literals as a rule, so there are not many. */
const keptRanges = 2_000;

/** CEL's CIDR as Kubernetes has it. */
class Cidr {
  readonly #ranges: AddressRanges;

  constructor(text: string) {
    if (!text.includes('/') || !isAddressRange(text)) {
      throw new Error('cidr(): expected a range such as 10.0.0.0/8');
    }
    this.#ranges = new AddressRanges([text]);
  }

  containsIP(address: string): boolean {
    return this.#ranges.includes(address);
  }
}

/**
 * What a condition can speak of, with types, so that a wrong name is found when the condition is compiled. None of the
 * functions is asynchronous.
 */
export function conditionEnvironment(): Environment {
  const cidrs = new LRUCache<string, Cidr>({ max: keptRanges, memoMethod: (text) => new Cidr(text) });
  const sync = { async: false };
  const environment = new Environment({ limits: { maxDepth: 64, maxAstNodes: 1000 } })
    .registerType('Principal', { ctor: PrincipalValue, fields: PrincipalValue.fields })
    .registerType('Request', { ctor: RequestValue, fields: RequestValue.fields })
    .registerType('net.CIDR', { ctor: Cidr, fields: {} })
    .registerVariable('principal', 'Principal')
    .registerVariable('request', 'Request')
    .registerVariable('repository', 'string')
    .registerVariable('action', 'string')
    .registerFunction('cidr(string): net.CIDR', (text: string) => cidrs.memo(text), sync)
    .registerFunction(
      'net.CIDR.containsIP(string): bool',
      (cidr: Cidr, address: string) => cidr.containsIP(address),
      sync,
    );
  return registerOwnFunctions(environment);
}
