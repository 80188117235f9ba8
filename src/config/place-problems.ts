import { formatProblem, type Problem, printPath, type SettingPath } from './problem.js';
import type { YamlFile } from './yaml-file.js';

/** More are not shown: by then the file is something else. */
const maxProblems = 100;

/** Each problem once, in the order of the file. @param first the file whose problems come before those of another one */
export function inOrder(problems: readonly Problem[], first: string): readonly Problem[] {
  const once = new Map(problems.map((problem) => [formatProblem(problem), problem]));
  const isOther = ({ file }: Problem) => Number(file !== first);
  return [...once.values()]
    .sort((a, b) => isOther(a) - isOther(b) || a.line - b.line || a.column - b.column)
    .slice(0, maxProblems);
}

/** Where a setting stands, or the innermost one around it that is there. */
export function placeOf(setting: string, yaml: YamlFile): Omit<Problem, 'message'> {
  const { message: _, ...place } = yaml.problem({ path: nearest(setting, yaml.value, []), message: '' });
  return { ...place, path: setting };
}

/** The path of a setting, or of the innermost one around it that is there. */
function nearest(setting: string, value: unknown, path: SettingPath): SettingPath {
  if (typeof value !== 'object' || value === null) return path;
  for (const [name, inner] of Object.entries(value)) {
    const next = [...path, Array.isArray(value) ? Number(name) : name];
    const printed = printPath(next);
    const isAround = setting.startsWith(printed) && /^(?:$|[.[])/.test(setting.slice(printed.length));
    if (isAround) return nearest(setting, inner, next);
  }
  return path;
}
