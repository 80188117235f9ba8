import type { ASTNode, Environment } from '@marcbachmann/cel-js';
import { formatOf, withWrittenNames } from './own-functions.js';
import { parsePattern } from './pattern.js';
import { childrenOf, descendants, loopOf, stringOf } from './syntax.js';

/** Entries of the written lists that are looped over for each element of another list, all together. */
const maxWritten = 10;
const nestedLoops = `a loop in a loop; that may be over lists that are written out, of ${maxWritten} entries all together`;

/** Something wrong with a part of a condition. */
export class ConditionFault extends Error {
  override readonly name = 'ConditionFault';
  /** Where in the text, from 0. */
  readonly start: number;

  constructor(message: string, start: number) {
    super(message);
    this.start = start;
  }
}

/**
 * What CEL allows and we do not, and what its type checker leaves for the run: a regular expression that is not a
 * literal, a loop in a loop, a name in `has()`, a literal that is no time.
 *
 * @throws ConditionFault
 */
export function checkRestrictions(root: ASTNode, environment: Environment): void {
  refuseNestedLoops(root, 0);
  boundWrittenLists(root);
  for (const node of descendants(root)) {
    checkPattern(node);
    checkZone(node);
    checkHas(node, environment);
    checkLiteralCall(node, environment);
    if (node.op === 'rcall' && node.args[0] === 'bind') fault(node, 'cel.bind() cannot be used here');
  }
}

function isMatches(node: ASTNode): node is ASTNode & { readonly op: 'rcall' } {
  return node.op === 'rcall' && node.args[0] === 'matches';
}

function checkPattern(node: ASTNode): void {
  if (!isMatches(node)) return;
  const pattern = stringOf(node.args[2][0]);
  if (pattern === undefined) {
    fault(node, 'matches() expects its regular expression as a literal text');
  }
  attempt(node, () => parsePattern(pattern));
}

/** Each loop is as long as somebody's groups; within each other they would multiply. */
function refuseNestedLoops(node: ASTNode, depth: number): void {
  const loop = loopOf(node);
  if (loop && depth > 0 && (loop.over.op !== 'list' || depth > 1)) {
    fault(node, nestedLoops);
  }
  for (const child of childrenOf(node)) {
    refuseNestedLoops(child, loop?.body.includes(child) ? depth + 1 : depth);
  }
}

/** What is done for each entry, for each of a thousand groups, adds up. To be called where no loop is deeper. */
function boundWrittenLists(root: ASTNode): void {
  let entries = 0;
  for (const outer of descendants(root)) {
    for (const node of loopOf(outer)?.body.flatMap(descendants) ?? []) {
      const { over } = loopOf(node) ?? {};
      if (over?.op !== 'list') continue;
      entries += over.args.length;
      if (entries > maxWritten) fault(node, nestedLoops);
    }
  }
}

/** `request.time.getHours("Europe/Berlin")`. */
function checkZone(node: ASTNode): void {
  if (node.op !== 'rcall' || !node.args[0].startsWith('get') || node.args[2].length !== 1) return;
  const timeZone = stringOf(node.args[2][0]);
  if (timeZone !== undefined) attempt(node, () => formatOf(timeZone));
}

/** The type checker looks at nothing in `has()` but its first name. */
function checkHas(node: ASTNode, environment: Environment): void {
  const [argument] = node.op === 'call' && node.args[0] === 'has' ? node.args[1] : [];
  if (argument === undefined || !['principal', 'request'].includes(rootOf(argument))) return;
  const { error } = environment.check(textOf(argument));
  if (error) throw new ConditionFault(error.summary, argument.start + (error.range?.start ?? 0));
}

/** `timestamp("…")`, `cidr("…")`: what can be known beforehand is not left for a request to find out. */
function checkLiteralCall(node: ASTNode, environment: Environment): void {
  if (node.op !== 'call' || node.args[1].length === 0) return;
  if (node.args[1].some((argument) => argument.op !== 'value')) return;
  attempt(node, () => environment.evaluate(textOf(node)));
}

function rootOf(node: ASTNode): string {
  if (node.op === 'id') return node.args;
  return node.op === '.' ? rootOf(node.args[0]) : '';
}

const textOf = (node: ASTNode) => node.input.slice(node.start, node.end);

function attempt(node: ASTNode, action: () => unknown): void {
  try {
    action();
  } catch (error) {
    fault(node, reasonOf(error));
  }
}

function fault(node: ASTNode, message: string): never {
  throw new ConditionFault(message, node.start);
}

/** In one line; the library's messages quote the expression below their first one. */
export function reasonOf(error: unknown): string {
  const { summary, message } = error as { readonly summary?: unknown; readonly message?: unknown };
  const text = typeof summary === 'string' ? summary : String(message);
  return withWrittenNames(text.split('\n')[0] ?? '');
}
