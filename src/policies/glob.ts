import type { AttributeValue, Principal } from '../contracts/principal.js';
import {
  type GlobVariable,
  matchesRepositoryGlob,
  type RepositoryGlob,
} from '../reference/repository-glob.js';
import { isRepositoryComponent } from '../reference/repository-name.js';

/**
 * True where the whole name matches. A principal's value stands for exactly one path component's text: a value that
 * could not be (a slash, a star, upper case) matches nothing, so it can neither inject a pattern nor climb a level.
 */
export function matchesGlob(glob: RepositoryGlob, name: string, who: Principal): boolean {
  return matchesRepositoryGlob(glob, name, (variable) => componentOf(variable, who));
}

/** @returns undefined for what is no path component */
function componentOf(of: GlobVariable, who: Principal): string | undefined {
  const value = of === 'name' ? who.name : textOf(who.attributes[of.attribute]);
  return value !== undefined && isRepositoryComponent(value) ? value : undefined;
}

function textOf(value: AttributeValue | undefined): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}
