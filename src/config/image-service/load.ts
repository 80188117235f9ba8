import { dirname, resolve } from 'node:path';
import { builtInDrivers } from '../../plugins/built-in.js';
import type { DriverMap } from '../../plugins/driver-map.js';
import { checkFiles } from '../check-files.js';
import type { ConfiguredDriver } from '../configuration.js';
import { configureDriver } from '../configure-drivers.js';
import { parseSettings } from '../explain-issues.js';
import { isMapping, type Mapping } from '../mapping.js';
import { namedFiles } from '../named-files.js';
import { inOrder, placeOf } from '../place-problems.js';
import { type Finding, type Problem, printPath, type SettingPath } from '../problem.js';
import { readYamlFile } from '../yaml-file.js';
import { type AllowedCode, imageServiceSites, refusedCode } from './allowed-code.js';
import { adminSocketOf, checkSockets } from './check-sockets.js';
import type { ImageServiceConfiguration, ServedImageConfiguration } from './configuration.js';
import { ruleSettings } from './rule-settings.js';
import { type ImageServiceSettings, imageServiceSchema } from './schema.js';

/**
 * Reads and checks a configuration of `kubelet-image-service`: its own settings, those of every driver by the driver's own
 * schema, and whether the files and variables it names are there. Opens no driver and no connection.
 *
 * @param environment where `{ env: NAME }` secrets are looked for
 * @param allow what else is a problem, and is not even loaded
 * @returns the configuration, or all problems at once in the order of the file. Never rejects for what a file says.
 */
export function loadImageServiceConfiguration(
  file: string,
  drivers: DriverMap = builtInDrivers,
  environment: NodeJS.ProcessEnv = process.env,
  allow: AllowedCode = [],
): Promise<Loaded<ImageServiceConfiguration>> {
  return load(file, { drivers, environment, allow, isServed: false });
}

/**
 * As `loadImageServiceConfiguration`, for `serve`: without a `runtime` there is one problem more. Whether the files and
 * variables of rules and of the audit log are there is left to who opens them: no pod may have to wait for a secret that
 * it does not need.
 */
export async function loadServedImageConfiguration(
  file: string,
  allow: AllowedCode = [],
): Promise<Loaded<ServedImageConfiguration>> {
  const loaded = await load(file, {
    drivers: builtInDrivers,
    environment: process.env,
    allow,
    isServed: true,
  });
  return loaded as Loaded<ServedImageConfiguration>;
}

type Loaded<C> = { readonly configuration: C } | { readonly problems: readonly Problem[] };

interface LoadParts {
  readonly drivers: DriverMap;
  readonly environment: NodeJS.ProcessEnv;
  readonly allow: AllowedCode;
  readonly isServed: boolean;
}

async function load(
  file: string,
  { drivers, environment, allow, isServed }: LoadParts,
): Promise<Loaded<ImageServiceConfiguration>> {
  const yaml = await readYamlFile(file);
  if ('problems' in yaml) return { problems: inOrder(yaml.problems, file) };
  const baseDirectory = dirname(resolve(file));
  const core = await parseSettings(imageServiceSchema, yaml.value, { path: [] });
  const configured = await configureSites(yaml.value, baseDirectory, { drivers, allow });
  const findings: Finding[] = [
    ...('findings' in core
      ? core.findings
      : checkSockets(core.value, configured.drivers.get('runtime')?.config)),
    ...configured.findings,
    ...(isServed ? missingRuntime(yaml.value) : []),
  ];
  const audit = imageServiceSchema.shape.audit.safeParse(mappingOf(yaml.value).audit).data;
  const named = [...configured.configs, { path: ['audit'], config: audit }];
  for (const { path, config } of named) {
    if (isServed && path[0] !== 'runtime') continue;
    findings.push(...(await checkFiles(config, path, baseDirectory, environment)));
  }
  if (findings.length > 0 || 'findings' in core) {
    const problems = findings.map((finding) => yaml.problem(finding));
    return { problems: inOrder(problems, file) };
  }
  return {
    configuration: {
      file: resolve(file),
      placeOf: (setting) => placeOf(setting, yaml),
      raw: yaml.value,
      namedFiles: await namedFiles(configured.configs, baseDirectory),
      baseDirectory,
      ...compose(core.value, configured.drivers),
    },
  };
}

/** What is no mapping the schema complains about. */
function missingRuntime(raw: unknown): readonly Finding[] {
  if (!isMapping(raw) || raw.runtime !== undefined) return [];
  const message =
    'is missing; serve needs it: expected a mapping such as { type: cri, endpoint: unix:///run/containerd/containerd.sock }';
  return [{ path: ['runtime'], message }];
}

type SiteKind = 'runtime' | 'credential-source';

/** By the setting that chooses it. */
type SiteDrivers = ReadonlyMap<string, ConfiguredDriver<SiteKind>>;

async function configureSites(
  raw: unknown,
  baseDirectory: string,
  { drivers, allow }: Pick<LoadParts, 'drivers' | 'allow'>,
) {
  const findings: Finding[] = [];
  const configured = new Map<string, ConfiguredDriver<SiteKind>>();
  const configs: { readonly path: SettingPath; readonly config: unknown }[] = [];
  for (const site of imageServiceSites(raw)) {
    const refused = refusedCode(site, allow);
    if (refused !== undefined) {
      findings.push(refused);
      continue;
    }
    const driver = await configureDriver(site, baseDirectory, drivers);
    if ('findings' in driver) {
      findings.push(...driver.findings);
      continue;
    }
    configured.set(printPath(site.path), driver as ConfiguredDriver<SiteKind>);
    configs.push({ path: site.path, config: driver.config });
  }
  return { findings, drivers: configured as SiteDrivers, configs };
}

function mappingOf(raw: unknown): Mapping {
  return isMapping(raw) ? raw : {};
}

function compose(
  settings: ImageServiceSettings,
  drivers: SiteDrivers,
): Omit<ImageServiceConfiguration, 'file' | 'placeOf' | 'raw' | 'namedFiles' | 'baseDirectory'> {
  const { images, admin, audit, runtime: _, ...rest } = settings;
  const runtime = drivers.get('runtime') as ConfiguredDriver<'runtime'> | undefined;
  return {
    ...rest,
    ...(runtime && { runtime }),
    images: ruleSettings(
      images,
      (place) => drivers.get(place) as ConfiguredDriver<'credential-source'> | undefined,
    ),
    admin: { socket: adminSocketOf(settings), ...(admin.listen && { listen: admin.listen }) },
    ...(audit && { audit: audit.file === undefined ? {} : { file: audit.file } }),
  };
}
