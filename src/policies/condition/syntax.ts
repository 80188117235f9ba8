import type { ASTNode } from '@marcbachmann/cel-js';

/** The macros that look at each element of a list. */
const loops: readonly string[] = ['all', 'exists', 'exists_one', 'map', 'filter'];

/** Any node but the literals and names that have none. @throws Error for an operator that is not known here */
export function childrenOf(node: ASTNode): readonly ASTNode[] {
  switch (node.op) {
    case 'value':
    case 'id':
      return [];
    case '.':
      return [node.args[0]];
    case 'call':
      return node.args[1];
    case 'rcall':
      return [node.args[1], ...node.args[2]];
    case 'list':
      return node.args;
    case 'map':
      return node.args.flat();
    case '!_':
    case '-_':
      return [node.args];
    case '.?':
    case '[?]':
      throw new Error(`'${node.op}' cannot be used here`);
    default:
      return node.args;
  }
}

export function descendants(node: ASTNode): readonly ASTNode[] {
  return [node, ...childrenOf(node).flatMap(descendants)];
}

/** `principal.groups.exists(g, …)`: what is looped over, and what is done for each element. */
export function loopOf(
  node: ASTNode,
): { readonly over: ASTNode; readonly body: readonly ASTNode[] } | undefined {
  if (node.op !== 'rcall' || !loops.includes(node.args[0]) || node.args[2].length < 2) return undefined;
  return { over: node.args[1], body: node.args[2].slice(1) };
}

/** The text of a string literal. */
export function stringOf(node: ASTNode | undefined): string | undefined {
  return node?.op === 'value' && typeof node.args === 'string' ? node.args : undefined;
}

/** True for `principal.groups` and `["principal", "groups"]`. */
export function isPath(node: ASTNode, path: readonly string[]): boolean {
  const last = path.at(-1);
  if (path.length === 1) return node.op === 'id' && node.args === last;
  return node.op === '.' && node.args[1] === last && isPath(node.args[0], path.slice(0, -1));
}
