import { isMapping } from './mapping.js';
import type { SettingPath } from './problem.js';

/** The rules of the built-in policy in a raw configuration, each with its place; none where another one decides. */
export function rawRules(policy: unknown): readonly { readonly path: SettingPath; readonly rule: unknown }[] {
  if (Array.isArray(policy)) return policy.map((rule: unknown, i) => ({ path: ['policy', i], rule }));
  if (!isBuiltInPolicy(policy) || !Array.isArray(policy.rules)) return [];
  return policy.rules.map((rule: unknown, i) => ({ path: ['policy', 'rules', i], rule }));
}

/** True for a mapping that chooses the built-in policy. */
export function isBuiltInPolicy(policy: unknown): policy is Readonly<Record<string, unknown>> {
  return isMapping(policy) && policy.module === undefined && (policy.type ?? 'rules') === 'rules';
}
