import type { DriverKind } from '../contracts/driver.js';
import { describeError } from '../errors.js';
import type { DriverMap } from '../plugins/driver-map.js';
import { DriverError, loadDriver } from '../plugins/load-driver.js';
import type { ConfiguredDriver } from './configuration.js';
import { defaultTypes } from './default-types.js';
import { type DriverSite, driverSites, typeKeyOf } from './driver-sites.js';
import { parseSettings, topKeys } from './explain-issues.js';
import { type Finding, printPath, type SettingPath } from './problem.js';

/** The drivers of one configuration, by where they are chosen. */
export interface ConfiguredDrivers {
  readonly findings: readonly Finding[];
  /** Each driver's parsed settings and their place. */
  readonly configs: readonly { readonly path: SettingPath; readonly config: unknown }[];
  /** @throws where the place has no driver: then there were findings */
  get<K extends DriverKind>(kind: K, path: SettingPath): ConfiguredDriver<K>;
}

/** Loads the drivers that a raw configuration chooses and lets each check its own settings. */
export async function configureDrivers(
  raw: unknown,
  baseDirectory: string,
  drivers: DriverMap,
): Promise<ConfiguredDrivers> {
  const findings: Finding[] = [];
  const configured = new Map<string, ConfiguredDriver<DriverKind>>();
  const configs: { path: SettingPath; config: unknown }[] = [];
  for (const found of driverSites(raw)) {
    const { chosenBy } = found;
    const upstream = chosenBy && configured.get(printPath(chosenBy));
    // What is wrong with the upstream is a finding already.
    if (chosenBy !== undefined && upstream === undefined) continue;
    const site = upstream === undefined ? found : withUsualType(found, upstream);
    const result = await configureDriver(site, baseDirectory, drivers);
    if ('findings' in result) {
      findings.push(...result.findings);
    } else {
      const isUsual = site !== found && result.driver.type !== defaultTypes['credential-source'];
      configured.set(printPath(site.path), isUsual ? { ...result, isUsual } : result);
      configs.push({ path: site.path, config: result.config });
    }
  }
  return {
    findings,
    configs,
    get<K extends DriverKind>(kind: K, path: SettingPath) {
      const found = configured.get(printPath(path));
      if (found?.driver.kind !== kind) throw new Error(`no ${kind} driver at ${printPath(path)}`);
      return found as unknown as ConfiguredDriver<K>;
    },
  };
}

/** The type that the registry wants, where the configuration names none (`url: gcr.io`). */
function withUsualType(site: DriverSite, { driver, config }: ConfiguredDriver<DriverKind>): DriverSite {
  const type = driver.usualCredentials?.(config) ?? defaultTypes['credential-source'];
  return { ...site, choice: { type } };
}

/** Loads the driver of one place and lets it check its settings. */
export async function configureDriver(
  site: DriverSite,
  baseDirectory: string,
  drivers: DriverMap,
): Promise<ConfiguredDriver<DriverKind> | { readonly findings: readonly Finding[] }> {
  const { kind, path, choice } = site;
  if (choice === undefined) {
    const known = Object.keys(drivers[kind]).join(', ');
    return {
      findings: [{ path: [...path, typeKeyOf(kind)], message: `is missing; expected one of ${known}` }],
    };
  }
  const { type, module } = choice;
  const source = module === undefined ? typeKeyOf(kind) : 'module';
  try {
    const driver = await loadDriver(
      kind,
      module === undefined
        ? { type: type ?? '' }
        : { module, baseDirectory, ...(type !== undefined && { type }) },
      drivers,
    );
    const parsed = await parseSettings(driver.config, site.config, {
      path,
      otherKeys: site.coreKeys,
      ownersOf: (key) => typesWith(key, kind, driver.type, drivers),
    });
    return 'findings' in parsed
      ? parsed
      : { driver, config: parsed.value, raw: { ...choice, config: site.config } };
  } catch (error) {
    const message = error instanceof DriverError ? error.message : `cannot check: ${describeError(error)}`;
    return { findings: [{ path: [...path, source], message }] };
  }
}

/** The types of the other drivers of this kind that have a setting of this name. */
async function typesWith(
  key: string,
  kind: DriverKind,
  notOf: string,
  drivers: DriverMap,
): Promise<readonly string[]> {
  const types: string[] = [];
  for (const type of Object.keys(drivers[kind])) {
    if (type === notOf) continue;
    const driver = await loadDriver(kind, { type }, drivers).catch(() => undefined);
    if (driver !== undefined && topKeys(driver.config).includes(key)) types.push(type);
  }
  return types;
}
