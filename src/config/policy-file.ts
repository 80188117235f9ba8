import { dirname, isAbsolute, join, resolve } from 'node:path';
import { didYouMean } from '../plugins/suggest.js';
import { FilePath } from '../settings/file-path.js';
import { checkFiles } from './check-files.js';
import { isMapping, type Mapping } from './mapping.js';
import type { Finding, Problem } from './problem.js';
import { isBuiltInPolicy } from './raw-rules.js';
import { readYamlFile, type YamlFile } from './yaml-file.js';

/** Bytes: some ten thousand rules with conditions. */
const maxSize = 8 * 1024 * 1024;

const fileKeys = ['rules', 'tests'];

/** A configuration with the content of its policy file in the place of `policy.file`. */
export interface WithPolicyFile {
  readonly yaml: YamlFile;
  /** What is wrong so far, with what keeps the content from being put there. */
  readonly problems: readonly Problem[];
  /** Absent where the rules are in the configuration itself. */
  readonly policyFile?: FilePath;
}

/**
 * What stands beside `file` is left to the driver's schema, as long as nothing takes the place of `file`.
 *
 * @param file the configuration's own name, as problems are to say it. Never rejects for what a file says.
 */
export async function withPolicyFile(yaml: YamlFile, file: string): Promise<WithPolicyFile> {
  const policy = isMapping(yaml.value) ? yaml.value.policy : undefined;
  if (!isBuiltInPolicy(policy) || typeof policy.file !== 'string' || policy.file === '') {
    return { yaml, problems: [] };
  }
  const policyFile = new FilePath(policy.file, 'file');
  const absent = await checkFiles({ file: policyFile }, ['policy'], dirname(resolve(file)), {});
  if (absent.length > 0) {
    return { yaml, problems: absent.map((finding) => yaml.problem(finding)) };
  }
  const name = isAbsolute(policy.file) ? policy.file : join(dirname(file), policy.file);
  const content = await readYamlFile(name, maxSize);
  if ('problems' in content) return { yaml, problems: content.problems };
  const wrong = wrongKeys(content.value).map((finding) => content.problem(finding));
  if (!isMapping(content.value) || !('rules' in content.value)) {
    return { yaml, problems: wrong };
  }
  const beside = besideFile(policy).map((finding) => yaml.problem(finding));
  return { yaml: merged(yaml, policy, content), problems: [...beside, ...wrong], policyFile };
}

function besideFile(policy: Mapping): readonly Finding[] {
  return Object.keys(policy)
    .filter((key) => key !== 'file' && key !== 'type')
    .map((key) => ({
      path: ['policy', key],
      at: 'key',
      message: fileKeys.includes(key) ? "cannot stand beside 'file'; it belongs in there" : 'unknown key',
    }));
}

function wrongKeys(content: unknown): readonly Finding[] {
  if (!isMapping(content)) return [{ path: [], message: "expected a mapping with the key 'rules'" }];
  const unknown = Object.keys(content)
    .filter((key) => !fileKeys.includes(key))
    .map((key): Finding => {
      const hint = didYouMean(key, fileKeys) || '; known: rules, tests';
      return { path: [key], at: 'key', message: `unknown key${hint}` };
    });
  return 'rules' in content
    ? unknown
    : [...unknown, { path: ['rules'], message: 'is missing; expected a list of rules' }];
}

function merged(yaml: YamlFile, { type }: Mapping, content: YamlFile): YamlFile {
  const { rules, tests } = content.value as Mapping;
  const policy = { ...(type !== undefined && { type }), rules, ...(tests !== undefined && { tests }) };
  return {
    value: { ...(yaml.value as Mapping), policy },
    problem(finding) {
      const [top, key] = finding.path;
      const isThere = top === 'policy' && fileKeys.includes(String(key));
      return isThere ? content.problem({ ...finding, path: finding.path.slice(1) }) : yaml.problem(finding);
    },
  };
}
