import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { checkFiles } from '../../config/check-files.js';
import type { ConfiguredDriver } from '../../config/configuration.js';
import { configureDriver } from '../../config/configure-drivers.js';
import { siteOf } from '../../config/driver-sites.js';
import { parseSettings } from '../../config/explain-issues.js';
import { isMapping } from '../../config/mapping.js';
import { type Finding, formatProblem, type Problem, type SettingPath } from '../../config/problem.js';
import { readYamlFile, type YamlFile } from '../../config/yaml-file.js';
import { builtInDrivers } from '../../plugins/built-in.js';
import { isHostPattern } from '../../settings/image-pattern.js';
import { NamePattern } from '../../settings/name-pattern.js';
import { HelperError } from '../one-question/helper-error.js';
import { canonicalHost } from './asked-registry.js';
import { refusalOf } from './settings-file.js';

/** The registries that a configuration has credentials for, in its order. */
export interface HelperSettings {
  readonly file: string;
  /** Relative file names count from here. */
  readonly baseDirectory: string;
  readonly registries: readonly ConfiguredRegistry[];
}

export interface ConfiguredRegistry {
  readonly match: NamePattern;
  readonly source: ConfiguredDriver<'credential-source'>;
  /** @throws HelperError where a file or a variable is not there that the source needs */
  checkFiles(): Promise<void>;
}

const expectedMatch =
  "expected a registry's host such as docker.example.com, without https:// and without a path; or a pattern such as *.example.com, whose last * has a dot and a domain behind it";

const optionalName = (expected: string) => z.string({ error: expected }).min(1, expected).optional();

const registryPattern = z
  .string({ error: expectedMatch })
  .refine(isHostPattern, { error: expectedMatch, abort: true })
  .transform((text) => new NamePattern(canonicalHost(text)))
  .describe('The `host` or `host:port` it is for. `*` stands for any characters.');

/** Strict; the keys of `credentials` are its driver's. */
export const helperSchema = z.strictObject({
  registries: z
    .array(
      z.strictObject({
        match: registryPattern,
        credentials: z
          .looseObject(
            {
              type: optionalName("expected the name of a driver's type"),
              module: optionalName('expected a file name'),
            },
            { error: 'expected a mapping such as { type: aws-sts }' },
          )
          .describe('A credential source: what its registry is shown.'),
      }),
      { error: 'expected a list such as [ { match: docker.example.com, credentials: { type: aws-sts } } ]' },
    )
    .min(1, 'expected at least one registry')
    .describe('The first that matches counts. There are no credentials for other registries.'),
});

/** @throws HelperError with all problems, one a line */
export async function loadHelperSettings(
  file: string,
  environment: NodeJS.ProcessEnv,
): Promise<HelperSettings> {
  const yaml = await readYamlFile(file, undefined, refusalOf);
  if ('problems' in yaml) throw badSettings(yaml.problems);
  const baseDirectory = dirname(resolve(file));
  const parsed = await parseSettings(helperSchema, yaml.value, { path: [] });
  const findings: Finding[] = 'findings' in parsed ? [...parsed.findings] : [];
  const registries: ConfiguredRegistry[] = [];
  for (const [i, raw] of rawRegistries(yaml.value).entries()) {
    const path: SettingPath = ['registries', i, 'credentials'];
    const site = siteOf('credential-source', path, raw);
    if (site === undefined) continue; // then it is a finding of the schema
    const source = await configureDriver(site, baseDirectory, builtInDrivers);
    if ('findings' in source) findings.push(...source.findings);
    const match = 'value' in parsed ? parsed.value.registries[i]?.match : undefined;
    if ('findings' in source || match === undefined) continue;
    const check = () => checkFiles(source.config, path, baseDirectory, environment);
    registries.push({
      match,
      source: source as ConfiguredDriver<'credential-source'>,
      checkFiles: async () => requireNone(await check(), yaml),
    });
  }
  requireNone(findings, yaml);
  return { file, baseDirectory, registries };
}

/** Also of a file that is wrong elsewhere, so that all problems are found at once. */
function rawRegistries(value: unknown): readonly unknown[] {
  const { registries } = isMapping(value) ? value : {};
  return Array.isArray(registries)
    ? registries.map((entry: unknown) => (isMapping(entry) ? entry.credentials : undefined))
    : [];
}

function requireNone(findings: readonly Finding[], yaml: YamlFile): void {
  if (findings.length > 0) throw badSettings(findings.map((finding) => yaml.problem(finding)));
}

function badSettings(problems: readonly Problem[]): HelperError {
  const inOrder = [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
  return new HelperError(inOrder.map(formatProblem).join('\n'), 2);
}
