import type { ASTNode } from '@marcbachmann/cel-js';
import { childrenOf, isPath, stringOf } from './syntax.js';

/** What of a principal a condition can look at. Groups are unqualified. */
export interface Sights {
  readonly groups: ReadonlySet<string> | 'all';
  readonly attributes: ReadonlySet<string> | 'all';
}

const groupsPath = ['principal', 'groups'];
const attributesPath = ['principal', 'attributes'];

/** Rather too much than too little: whatever is not plainly one group or one attribute counts as all of them. */
export function sightsOf(root: ASTNode): Sights {
  const groups = new Set<string>();
  const attributes = new Set<string>();
  let allGroups = false;
  let allAttributes = false;
  const look = (node: ASTNode): void => {
    const attribute = attributeOf(node);
    const group = groupOf(node);
    if (attribute !== undefined) attributes.add(attribute);
    else if (group !== undefined) groups.add(group);
    else if (isPath(node, groupsPath)) allGroups = true;
    else if (isPath(node, attributesPath)) allAttributes = true;
    else if (isPath(node, ['principal'])) allGroups = allAttributes = true;
    else if (!isOtherField(node)) for (const child of childrenOf(node)) look(child);
  };
  look(root);
  return { groups: allGroups ? 'all' : groups, attributes: allAttributes ? 'all' : attributes };
}

/** `principal.attributes.NAME`, `principal.attributes["NAME"]`, `"NAME" in principal.attributes`. */
function attributeOf(node: ASTNode): string | undefined {
  if (node.op === '.') return isPath(node.args[0], attributesPath) ? node.args[1] : undefined;
  if (node.op === '[]') return isPath(node.args[0], attributesPath) ? stringOf(node.args[1]) : undefined;
  if (node.op === 'in') return isPath(node.args[1], attributesPath) ? stringOf(node.args[0]) : undefined;
  return undefined;
}

/** `"NAME" in principal.groups`. */
function groupOf(node: ASTNode): string | undefined {
  return node.op === 'in' && isPath(node.args[1], groupsPath) ? stringOf(node.args[0]) : undefined;
}

/** `principal.name` and the like. */
function isOtherField(node: ASTNode): boolean {
  return node.op === '.' && isPath(node.args[0], ['principal']);
}
