import { dirname, resolve } from 'node:path';
import { builtInDrivers } from '../plugins/built-in.js';
import type { DriverMap } from '../plugins/driver-map.js';
import { checkFiles } from './check-files.js';
import { checkListening } from './check-listening.js';
import { checkPolicyTests } from './check-policy-tests.js';
import { checkReferences } from './check-references.js';
import { checkRuleNames } from './check-rule-names.js';
import { checkRulePlaces } from './check-rule-places.js';
import { checkAuthorities, checkTlsPair } from './check-tls-pair.js';
import type {
  Configuration,
  ConfiguredCache,
  NamedFile,
  PolicyTestSetting,
  RefreshTokenSetting,
  RouteSetting,
  SignInSetting,
  TlsSetting,
} from './configuration.js';
import { type ConfiguredDrivers, configureDrivers } from './configure-drivers.js';
import { type CacheSettings, type CoreSettings, coreSchema, type RouteSettings } from './core-schema.js';
import { credentialsOf } from './driver-sites.js';
import { parseSettings } from './explain-issues.js';
import { isMapping } from './mapping.js';
import { namedFiles } from './named-files.js';
import { inOrder, placeOf } from './place-problems.js';
import { withPolicyFile } from './policy-file.js';
import { type Finding, type Problem, printPath, type SettingPath } from './problem.js';
import { readYamlFile, type YamlFile } from './yaml-file.js';

/**
 * Reads and checks a configuration: its own settings, those of every driver by the driver's own schema, what refers
 * to what, and whether the files and variables it names are there. Opens no driver and no connection, but loads the
 * drivers' code.
 *
 * @param environment where `{ env: NAME }` secrets are looked for
 * @returns the configuration, or all problems at once in the order of the file. Never rejects for what a file says.
 */
export async function loadConfiguration(
  file: string,
  drivers: DriverMap = builtInDrivers,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<{ readonly configuration: Configuration } | { readonly problems: readonly Problem[] }> {
  const own = await readYamlFile(file);
  if ('problems' in own) return { problems: inOrder(own.problems, file) };
  const { yaml, problems, policyFile } = await withPolicyFile(own, file);
  const baseDirectory = dirname(resolve(file));
  const core = await parseSettings(coreSchema, yaml.value, { path: [] });
  if (!isMapping(yaml.value) && 'findings' in core) {
    return { problems: core.findings.map((finding) => yaml.problem(finding)) };
  }
  const configured = await configureDrivers(yaml.value, baseDirectory, drivers);
  const findings: Finding[] = [
    ...('findings' in core ? core.findings : []),
    ...configured.findings,
    ...checkListening(yaml.value),
    ...checkReferences(yaml.value),
    ...checkRuleNames(yaml.value),
    ...checkRulePlaces(yaml.value),
    ...checkPolicyTests(yaml.value),
  ];
  for (const { path, config } of configured.configs) {
    findings.push(...(await checkFiles(config, path, baseDirectory, environment)));
  }
  const audit = coreSchema.shape.audit.safeParse((yaml.value as { audit?: unknown } | null)?.audit).data;
  findings.push(...(await checkFiles(audit, ['audit'], baseDirectory, environment)));
  const signIn = coreSchema.shape.signIn.safeParse((yaml.value as { signIn?: unknown } | null)?.signIn).data;
  findings.push(...(await checkFiles(signIn, ['signIn'], baseDirectory, environment)));
  const tls = coreSchema.shape.tls.safeParse((yaml.value as { tls?: unknown } | null)?.tls).data;
  if (tls !== undefined) {
    findings.push(...(await checkFiles(tls, ['tls'], baseDirectory, environment)));
    findings.push(...(await checkTlsPair(tls, ['tls'], baseDirectory)));
    if (tls.clientCertificates) {
      const path = ['tls', 'clientCertificates'];
      findings.push(...(await checkAuthorities(tls.clientCertificates, path, baseDirectory)));
    }
  }
  if (problems.length > 0 || findings.length > 0 || 'findings' in core) {
    const found = [...problems, ...findings.map((finding) => yaml.problem(finding))];
    return { problems: inOrder(found, file) };
  }
  const files = await namedFiles(
    [
      ...configured.configs,
      { path: ['tls'], config: core.value.tls },
      { path: ['signIn'], config: core.value.signIn },
      { path: ['policy'], config: { file: policyFile } },
    ],
    baseDirectory,
  );
  const policyTests = policyTestSettings(core.value, yaml);
  const composed = compose(resolve(file), own.value, files, core.value, configured, policyTests);
  return { configuration: { ...composed, placeOf: (setting) => placeOf(setting, yaml) } };
}

function compose(
  file: string,
  raw: unknown,
  files: readonly NamedFile[],
  core: CoreSettings,
  drivers: ConfiguredDrivers,
  policyTests: readonly PolicyTestSetting[],
): Omit<Configuration, 'placeOf'> {
  const { tls, admin, token, audit, signIn, clientCertificateHeader } = core;
  const refreshTokens = refreshTokenSetting(token.refreshTokens);
  return {
    file,
    raw,
    namedFiles: files,
    baseDirectory: dirname(file),
    listen: core.listen,
    externalUrl: core.externalUrl,
    ...(tls && { tls: tlsSetting(tls) }),
    ...(admin && { admin }),
    trustedProxies: core.trustedProxies,
    ...(clientCertificateHeader !== undefined && { clientCertificateHeader }),
    limits: core.limits,
    upstreams: new Map(
      Object.entries(core.upstreams).map(([name, { credentials, cache }]) => [
        name,
        {
          upstream: drivers.get('upstream', ['upstreams', name]),
          credentials: credentialsOf(name, credentials).map(({ path }) => ({
            setting: printPath(path),
            source: drivers.get('credential-source', path),
          })),
          ...(cache && { cache: cacheSetting(cache, ['upstreams', name, 'cache'], drivers) }),
        },
      ]),
    ),
    routes: core.routes.map((route, i) => routeSetting(route, i, drivers)),
    catalog: core.catalog,
    verifiers: core.verifiers.map(({ id, usernames }, i) => ({
      id,
      driver: drivers.get('verifier', ['verifiers', i]),
      ...(usernames && { usernames }),
    })),
    mergedVerifiers: core.mergedVerifiers,
    rememberLogins: core.rememberLogins,
    ...(signIn && { signIn: signInSetting(signIn) }),
    policy: drivers.get('policy', ['policy']),
    policyTests,
    token: {
      issuer: drivers.get('token-issuer', ['token']),
      services: token.services,
      ...(refreshTokens && { refreshTokens }),
    },
    state: drivers.get('state-store', ['state']),
    log: core.log,
    ...(audit && { audit: audit.file === undefined ? {} : { file: audit.file } }),
    workers: core.workers,
    drainDelay: core.drainDelay,
    drainTimeout: core.drainTimeout,
  };
}

function policyTestSettings({ policy }: CoreSettings, yaml: YamlFile): readonly PolicyTestSetting[] {
  const tests = Array.isArray(policy) ? [] : (policy.tests ?? []);
  return tests.map((test, i) => {
    const { message: _, ...place } = yaml.problem({ path: ['policy', 'tests', i], message: '' });
    return { test, place };
  });
}

function tlsSetting({
  clientCertificates,
  redirectFrom,
  ...tls
}: NonNullable<CoreSettings['tls']>): TlsSetting {
  return {
    ...tls,
    ...(clientCertificates && { clientCertificates }),
    ...(redirectFrom && { redirectFrom }),
  };
}

function signInSetting({ clientSecret, ...signIn }: NonNullable<CoreSettings['signIn']>): SignInSetting {
  return { ...signIn, ...(clientSecret && { clientSecret }) };
}

function routeSetting(
  { host, cache, ...route }: RouteSettings,
  i: number,
  drivers: ConfiguredDrivers,
): RouteSetting {
  return {
    ...route,
    ...(host !== undefined && { host }),
    ...(cache === false && { cache }),
    ...(cache && { cache: cacheSetting(cache, ['routes', i, 'cache'], drivers) }),
  };
}

function cacheSetting(
  { tagFreshness, contentFreshness, missFreshness }: CacheSettings,
  path: SettingPath,
  drivers: ConfiguredDrivers,
): ConfiguredCache {
  const store = drivers.get('blob-store', path);
  return { setting: printPath(path), store, tagFreshness, contentFreshness, missFreshness };
}

function refreshTokenSetting(
  setting: CoreSettings['token']['refreshTokens'],
): RefreshTokenSetting | undefined {
  if (setting === false) return undefined;
  return setting === true ? { idle: 30 * 86_400_000, absolute: 90 * 86_400_000 } : setting;
}
