import { dirname, resolve } from 'node:path';
import { checkFiles } from '../../config/check-files.js';
import type { ConfiguredDriver } from '../../config/configuration.js';
import { configureDriver } from '../../config/configure-drivers.js';
import { siteOf } from '../../config/driver-sites.js';
import { parseSettings } from '../../config/explain-issues.js';
import { type AllowedCode, refusedCode } from '../../config/image-service/allowed-code.js';
import type { ImageRuleSetting } from '../../config/image-service/configuration.js';
import { ruleSettings } from '../../config/image-service/rule-settings.js';
import { imageServiceSchema } from '../../config/image-service/schema.js';
import { inOrder } from '../../config/place-problems.js';
import { type Finding, formatProblem, type Problem, type SettingPath } from '../../config/problem.js';
import { readYamlFile, type YamlFile } from '../../config/yaml-file.js';
import { builtInDrivers } from '../../plugins/built-in.js';
import { HelperError } from '../one-question/helper-error.js';

/** A rule of `images`, before anything of its credentials is loaded. */
export interface ProviderRule extends Omit<ImageRuleSetting, 'credential'> {
  readonly hasCredentials: boolean;
}

/** The rules of a configuration, in its order. */
export interface RulesFile {
  /** Absolute. */
  readonly file: string;
  /** Relative file names count from here. */
  readonly baseDirectory: string;
  readonly rules: readonly ProviderRule[];
  /**
   * Loads and checks the credentials of one rule, which has some.
   *
   * @throws HelperError also where a file or a variable is not there that they need
   */
  configure(rule: ProviderRule): Promise<ConfiguredDriver<'credential-source'>>;
}

/**
 * Reads the rules alone: what is wrong with the credentials of one is told when it is its turn, so that it is in nobody
 * else's way.
 *
 * @throws HelperError with all problems of the file, one a line
 */
export async function readRulesFile(
  file: string,
  environment: NodeJS.ProcessEnv,
  allow: AllowedCode = [],
): Promise<RulesFile> {
  const yaml = await readYamlFile(file);
  if ('problems' in yaml) throw badFile(file, yaml.problems);
  const parsed = await parseSettings(imageServiceSchema, yaml.value, { path: [] });
  if ('findings' in parsed) throw badSettings(file, yaml, parsed.findings);
  const { images } = parsed.value;
  const baseDirectory = dirname(resolve(file));
  const rules = ruleSettings(images, () => undefined).map(
    (rule, i): ProviderRule => ({ ...rule, hasCredentials: images[i]?.credentials !== undefined }),
  );
  return {
    ...{ file: resolve(file), baseDirectory, rules },
    async configure(rule) {
      const i = rules.indexOf(rule);
      const path: SettingPath = ['images', i, 'credentials'];
      const site = siteOf('credential-source', path, images[i]?.credentials);
      if (site === undefined) throw new Error(`${rule.name} has no credentials`);
      const refused = refusedCode(site, allow);
      if (refused !== undefined) throw badSettings(file, yaml, [refused]);
      const source = await configureDriver(site, baseDirectory, builtInDrivers);
      if ('findings' in source) throw badSettings(file, yaml, source.findings);
      const missing = await checkFiles(source.config, path, baseDirectory, environment);
      if (missing.length > 0) throw badSettings(file, yaml, missing);
      return source as ConfiguredDriver<'credential-source'>;
    },
  };
}

function badSettings(file: string, yaml: YamlFile, findings: readonly Finding[]): HelperError {
  return badFile(
    file,
    findings.map((finding) => yaml.problem(finding)),
  );
}

function badFile(file: string, problems: readonly Problem[]): HelperError {
  return new HelperError(inOrder(problems, file).map(formatProblem).join('\n'), 2);
}
