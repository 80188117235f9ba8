import { unifiedDiff } from './diff.js';
import { hashOf } from './journal.js';
import type { Change, ObservedNode, Plan } from './node.js';
import { isUnitPath } from './own-files.js';

/**
 * A plan for people: verdict, reasons, and each file's diff. Copies of the configuration may hold secrets: they are named
 * with size and hash, never shown.
 */
export function showPlan(plan: Plan, observed: ObservedNode): string {
  const { verdict, reasons, changes } = plan;
  return [
    `verdict: ${verdict}`,
    ...reasons.map((reason) => `  ${reason}`),
    ...changes.flatMap((change) => ['', showChange(change, observed).trimEnd()]),
    '',
  ].join('\n');
}

function showChange(change: Change, { own }: ObservedNode): string {
  const { path, before, after } = change;
  if (isUnitPath(path)) {
    const text = typeof after?.content === 'string' ? after.content : undefined;
    const diff = unifiedDiff(path, before?.text, text);
    if (diff !== '') return diff;
  }
  if (after === undefined) return `remove ${path} (sha256 ${short(before?.hash)})`;
  const hash = typeof after.content === 'string' ? hashOf(after.content) : after.content.hash;
  const size = typeof after.content === 'string' ? `${Buffer.byteLength(after.content)} bytes, ` : '';
  const mode = octal(after.mode);
  if (before === undefined) return `write ${path} (${size}sha256 ${short(hash)}, mode ${mode})`;
  if (before.hash === hash)
    return `change the mode of ${path} from ${octal(own.get(path)?.mode ?? 0)} to ${mode}`;
  return `replace ${path} (sha256 ${short(before.hash)} by ${size}sha256 ${short(hash)}, mode ${mode})`;
}

function short(hash = ''): string {
  return hash.slice(0, 12);
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
