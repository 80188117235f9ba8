import { filePathsIn } from '../config/check-files.js';
import type { Configuration } from '../config/configuration.js';
import { isMapping } from '../config/mapping.js';
import { formatProblem } from '../config/problem.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import { certificateWarning } from './certificate-life.js';
import { credentialProblems, type UpstreamRemark, upstreamWarnings } from './check-upstreams.js';
import { groupWarnings } from './group-warnings.js';
import { machineWarnings } from './machine-warnings.js';
import { openIssuer, openPolicy, openUpstreams, openVerifier } from './open-parts.js';
import { openClientSecret, providerOf } from './open-sign-in.js';
import { Opener, OpeningError, type Surroundings } from './opener.js';
import { readTlsFiles } from './tls-files.js';

/**
 * What only opening can tell: a users file with a bad line, a rule for nobody. Opens what neither writes nor listens,
 * and closes it again.
 *
 * @returns one line a problem
 */
export async function checkOpening(
  configuration: Configuration,
  surroundings: Surroundings,
): Promise<readonly string[]> {
  const { signIn } = configuration;
  const opener = new Opener(configuration, surroundings);
  const state = { part: new MemoryStateStore(surroundings.clock), key: 'memory' };
  const problems = credentialProblems(configuration).map((remark) => placed(configuration, remark));
  const attempts: readonly (() => Promise<unknown>)[] = [
    ...[...configuration.upstreams].map(
      (one) => () => openUpstreams(opener, { ...configuration, upstreams: new Map([one]) }),
    ),
    ...configuration.verifiers.map((_, i) => () => openVerifier(opener, configuration, i, state)),
    ...configuration.verifiers.flatMap(({ id }, i) =>
      id !== signIn?.verifier
        ? []
        : [async () => providerOf(signIn, (await openVerifier(opener, configuration, i, state)).part)],
    ),
    () => openClientSecret(configuration, surroundings),
    () => openPolicy(opener, configuration),
    ...(ownsDirectory(configuration.token.issuer.config) ? [] : [() => openIssuer(opener, configuration)]),
  ];
  for (const attempt of attempts) {
    try {
      await attempt();
    } catch (error) {
      if (!(error instanceof OpeningError)) throw error;
      problems.push(placed(configuration, { setting: error.setting, message: error.text }));
    }
  }
  await opener.close();
  return problems;
}

/** What serves, and not as its operator would want it. @returns one line each */
export async function checkWarnings(
  configuration: Configuration,
  surroundings: Surroundings,
): Promise<readonly string[]> {
  const { file, tls, baseDirectory } = configuration;
  const certificate = tls && (await readTlsFiles(tls, baseDirectory)).certificate;
  const warning = certificate && certificateWarning(certificate, surroundings.clock.now());
  const upstreams = upstreamWarnings(configuration).map((remark) => placed(configuration, remark));
  const others = [
    ...(warning === undefined ? [] : [`tls.certificate: ${warning}`]),
    ...certificateHeaderWarnings(configuration),
    ...usernameWarnings(configuration),
    ...signInWarnings(configuration),
    ...machineWarnings(configuration),
    ...(await groupWarnings(configuration, surroundings)),
  ].map((text) => `${file}: ${text}`);
  return [...upstreams, ...others];
}

function placed({ placeOf }: Configuration, { setting, message }: UpstreamRemark): string {
  return formatProblem({ ...placeOf(setting), message });
}

function certificateHeaderWarnings({
  clientCertificateHeader,
  trustedProxies,
}: Configuration): readonly string[] {
  return clientCertificateHeader !== undefined && trustedProxies.length === 0
    ? ['clientCertificateHeader: it counts from nobody, for trustedProxies is empty']
    : [];
}

/** Basic ends the user name at the first colon (RFC 7617 section 2), and docker, podman and skopeo log in by Basic. */
function usernameWarnings({ verifiers }: Configuration): readonly string[] {
  return verifiers.flatMap(({ usernames = [] }, i) =>
    usernames.flatMap(({ text }, j) =>
      text.includes(':')
        ? [
            `verifiers[${i}].usernames[${j}]: docker, podman and skopeo cannot log in with a colon in the user name`,
          ]
        : [],
    ),
  );
}

function signInWarnings({ signIn, state, token }: Configuration): readonly string[] {
  if (signIn === undefined) return [];
  const { driver, config } = token.issuer;
  const hasKeys = driver.type !== 'jwt' || (isMapping(config) && config.keys !== undefined);
  return [
    ...(state.driver.type === 'memory'
      ? ['signIn: the state is in memory: personal access tokens end with the process; set state']
      : []),
    ...(hasKeys
      ? []
      : [
          'signIn: the signing keys end with the process, and with them all sessions and the refresh tokens of the provider; set token.keys',
        ]),
  ];
}

/** What has a directory of its own may write there when it is opened. */
function ownsDirectory(config: unknown): boolean {
  return filePathsIn(config).some(({ file }) => file.kind === 'directory');
}
