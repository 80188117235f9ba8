import type { ASTNode, Environment } from '@marcbachmann/cel-js';
import { LRUCache } from 'lru-cache';
import { parsePattern } from './pattern.js';
import { descendants } from './syntax.js';

// The library's functions cannot be replaced. Two kinds of them have to be: `matches()` takes JavaScript's regular
// expressions, which can take exponential time on a text that a client chose; and a timestamp's parts in a time zone are
// wrong for an hour a year where this machine's own zone has summer time, and take a fifth of a millisecond. So calls of
// them are renamed before anything has looked at them.

/** Nobody can write such a name in an expression. */
const prefix = 'own:';

/** Compiled patterns and time zones that are kept; both are literals as a rule, so there are not many. */
const kept = 2_000;

/** What CEL has of a timestamp, taken from one whose UTC is the local time asked for. */
const parts: Readonly<Record<string, (local: Date) => number>> = {
  getFullYear: (local) => local.getUTCFullYear(),
  getMonth: (local) => local.getUTCMonth(),
  getDate: (local) => local.getUTCDate(),
  getDayOfMonth: (local) => local.getUTCDate() - 1,
  getDayOfWeek: (local) => local.getUTCDay(),
  getDayOfYear: (local) =>
    Math.floor((local.getTime() - Date.UTC(local.getUTCFullYear(), 0, 1)) / 86_400_000),
  getHours: (local) => local.getUTCHours(),
  getMinutes: (local) => local.getUTCMinutes(),
  getSeconds: (local) => local.getUTCSeconds(),
  getMilliseconds: (local) => local.getUTCMilliseconds(),
};

export function registerOwnFunctions(environment: Environment): Environment {
  const patterns = new LRUCache<string, ReturnType<typeof parsePattern>>({
    max: kept,
    memoMethod: parsePattern,
  });
  environment.registerFunction({
    name: `${prefix}matches`,
    receiverType: 'string',
    returnType: 'bool',
    params: [{ name: 'pattern', type: 'string' }],
    handler: (text: string, pattern: string) => patterns.memo(pattern).isIn(text),
    async: false,
  });
  const zones = new LRUCache<string, Intl.DateTimeFormat>({ max: kept, memoMethod: formatOf });
  for (const [name, part] of Object.entries(parts)) {
    environment.registerFunction({
      name: `${prefix}${name}`,
      receiverType: 'google.protobuf.Timestamp',
      returnType: 'int',
      params: [{ name: 'zone', type: 'string' }],
      handler: (time: Date, zone: string) => BigInt(part(localTime(time, zones.memo(zone)))),
      async: false,
    });
  }
  return environment;
}

/** Puts calls of ours in the place of the library's. To be done before the expression is checked. */
export function useOwnFunctions(root: ASTNode): void {
  for (const node of descendants(root)) {
    if (isReplaced(node)) node.args[0] = `${prefix}${node.args[0]}`;
  }
}

export function hasReplacedFunctions(root: ASTNode): boolean {
  return descendants(root).some(isReplaced);
}

/** A message with the names that were written. */
export function withWrittenNames(message: string): string {
  return message.replaceAll(prefix, '');
}

function isReplaced(node: ASTNode): node is ASTNode & { readonly op: 'rcall' } {
  if (node.op !== 'rcall' || node.args[2].length !== 1) return false;
  return node.args[0] === 'matches' || Object.hasOwn(parts, node.args[0]);
}

/** @throws RangeError for a time zone that there is not */
export function formatOf(timeZone: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat('en-u-ca-iso8601-nu-latn', {
    timeZone,
    hourCycle: 'h23',
    ...{ year: 'numeric', month: 'numeric', day: 'numeric' },
    ...{ hour: 'numeric', minute: 'numeric', second: 'numeric' },
  });
}

/** The time whose UTC reads as the given one does in the zone. */
function localTime(time: Date, format: Intl.DateTimeFormat): Date {
  const found = format.formatToParts(time);
  const of = (type: Intl.DateTimeFormatPartTypes) =>
    Number(found.find((part) => part.type === type)?.value ?? Number.NaN);
  const [year, month, day] = [of('year'), of('month') - 1, of('day')];
  return new Date(
    Date.UTC(year, month, day, of('hour'), of('minute'), of('second'), time.getUTCMilliseconds()),
  );
}
