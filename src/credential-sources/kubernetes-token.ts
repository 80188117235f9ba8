import { resolve } from 'node:path';
import { z } from 'zod';
import { type Clock, type DriverDependencies, defineDriver } from '../contracts/index.js';
import { describeError, RegistryError } from '../errors.js';
import { machineUsers } from '../protocol/identity-envelope.js';
import { unverifiedClaims } from '../protocol/jwt-form.js';
import { Secret } from '../secret.js';
import { ChangingFile } from '../settings/changing-file.js';
import { machineCredential } from './machine/machine-credential.js';
import { proofSource } from './machine/proof-source.js';

/** Where a pod mounts the token for this program, where nothing else is said. */
export const defaultTokenFile = '/var/run/secrets/docker-registry-proxy/token';

const maxSize = 64 * 1024;
const day = 24 * 60 * 60_000;
/** Seconds since the epoch: the end of the year 9999, the last one that dates can be written of. */
const latestTime = 253_402_300_799;

const config = z.strictObject({
  // A text, and not a file that is watched: with each renewal all that hangs on this source would be opened anew.
  file: z
    .string({ error: 'expected a file name' })
    .min(1, 'expected a file name')
    .default(defaultTokenFile)
    .describe(
      'The token that the kubelet writes (a projected volume, `serviceAccountToken`). It is read again when it changes, and need not be there at the start.',
    ),
  audience: z
    .string({ error: 'expected an audience' })
    .min(1, 'expected an audience')
    .optional()
    .describe(
      'Whom the token is for: `audience` of the projected volume. Without it, the registry that is asked, such as `docker.example.com`. No other token is shown.',
    ),
  username: z
    .string({ error: 'expected _kubernetes, or a name such as _kubernetes-a' })
    .regex(/^_kubernetes(?:-[a-z0-9-]{1,64})?$/, 'expected _kubernetes, or a name such as _kubernetes-a')
    .default(machineUsers.kubernetes)
    .describe('Another one where the proxy tells several clusters apart by it (`usernames`).'),
});

type Settings = z.output<typeof config>;

/** A Kubernetes ServiceAccount's token, for the `kubernetes` verifier of another docker-registry-proxy. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'kubernetes-token',
  config,
  async open(settings: Settings, { id, baseDirectory, clock, log }: DriverDependencies) {
    const file = new ChangingFile(resolve(baseDirectory, settings.file), {
      parse: parseToken,
      maxSize,
      onFailure: (error) =>
        log.error(
          { id, error: describeError(error) },
          'a ServiceAccount token cannot be read again; the last one stays',
        ),
    });
    const tokens = new ProjectedToken(file, clock);
    return proofSource(settings.audience, {
      // What was refused may be given again: it is the kubelet that makes another.
      prove: async (audience) => {
        const token = await tokens.read(audience);
        const times = { expiresAt: token.expiresAt, ...refreshOf(token) };
        return machineCredential(settings.username, token.text.reveal(), times);
      },
      close: async () => {},
    });
  },
});

/** Times are milliseconds since the epoch. */
interface Token {
  readonly text: Secret;
  readonly audiences: readonly string[];
  readonly issuedAt: number | undefined;
  readonly expiresAt: number;
}

/** What the kubelet wrote, where it is for us. */
class ProjectedToken {
  readonly #file: ChangingFile<Token>;
  readonly #clock: Clock;

  constructor(file: ChangingFile<Token>, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  /** @throws RegistryError UNAVAILABLE where there is none for this audience, and no other is shown */
  async read(audience: string): Promise<Token> {
    const token = await this.#read(audience);
    this.#check(token, audience);
    return token;
  }

  async #read(audience: string): Promise<Token> {
    return this.#file.read().catch((error: unknown) => {
      const reason = `${describeError(error)}; mount a projected volume with serviceAccountToken: { audience: ${audience} } there, or name its file`;
      throw new RegistryError('UNAVAILABLE', { reason, cause: error });
    });
  }

  /** Every pod has a token for the API server, which must not be shown to a registry (threat 7). */
  #check({ audiences, expiresAt }: Token, audience: string): void {
    const { path } = this.#file;
    if (!audiences.includes(audience)) {
      const whose = audiences.length === 0 ? 'for nobody (it has no aud)' : `for ${audiences.join(', ')}`;
      throw new RegistryError('UNAVAILABLE', {
        reason: `the token in ${path} is ${whose}, and not for ${audience}: nothing is shown; make its projected volume's audience and this source's the same`,
      });
    }
    if (expiresAt <= this.#clock.now()) {
      const when = new Date(expiresAt).toISOString();
      throw new RegistryError('UNAVAILABLE', {
        reason: `the token in ${path} has expired ${when}: the kubelet does not renew it; a volume mounted by subPath never is`,
      });
    }
  }
}

/** The kubelet renews it after 80 % of its life, or after a day, and looks about once a minute whether it is time. */
function refreshOf({ issuedAt, expiresAt }: Token): { readonly refreshAt?: number } {
  if (issuedAt === undefined) return {};
  return { refreshAt: issuedAt + Math.min(0.85 * (expiresAt - issuedAt), day) };
}

/** @throws an Error with a one-line message that does not quote the text */
function parseToken(content: string): Token {
  const text = content.trim();
  const claims = unverifiedClaims(text);
  if (claims === undefined) throw new Error('it is not a token of a ServiceAccount (a signed JWT)');
  const { aud, iat, exp } = claims;
  if (typeof exp !== 'number' || !Number.isFinite(exp) || Math.abs(exp) > latestTime) {
    throw new Error('its token never ends: it is of the old kind, from a Secret');
  }
  const audiences = [aud].flat().filter((one) => typeof one === 'string');
  const issuedAt = typeof iat === 'number' && iat < exp ? iat * 1000 : undefined;
  return { text: new Secret(text), audiences, issuedAt, expiresAt: exp * 1000 };
}
