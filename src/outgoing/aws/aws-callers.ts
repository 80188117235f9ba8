import type { CallOptions, Clock, Closable, DriverDependencies } from '../../contracts/index.js';
import type { ServerSettings } from '../../settings/server-keys.js';
import { HttpCaller } from '../http-caller.js';
import { openDirectCaller } from '../metadata/direct-caller.js';
import { ProgramTurns } from '../program-turns.js';
import { type AwsIdentitySettings, findAwsIdentity } from './aws-identity.js';
import { findAwsRegion } from './aws-region.js';
import type { AwsIdentity } from './identity-call.js';
import { type SdkRequestHandler, sdkRequests } from './sdk-requests.js';

/** Milliseconds: metadata servers are near. */
const metadataTime = 1_000;
/** Milliseconds for a profile's `credential_process`, its wait for a turn included. */
const programTime = 20_000;
const programsAtOnce = 2;

/**
 * What a driver asks AWS with.
 *
 * @throws an Error with a one-line message where the CA file cannot be used
 */
export async function openAwsCallers(
  keys: ServerSettings,
  { baseDirectory, clock }: Pick<DriverDependencies, 'baseDirectory' | 'clock'>,
): Promise<AwsCallers> {
  const http = await HttpCaller.open(keys, baseDirectory);
  return new AwsCallers(http, openDirectCaller({ timeout: Math.min(keys.timeout, metadataTime) }), clock);
}

/** AWS's services, the metadata servers of this machine, and the programs of profiles, each with its bounds. */
export class AwsCallers implements Closable {
  /** For AWS's services. */
  readonly http: HttpCaller;
  readonly #direct: HttpCaller;
  readonly #turns = new ProgramTurns({ atOnce: programsAtOnce, timeLimit: programTime });
  readonly #clock: Clock;

  /** @param direct for metadata servers: without a proxy, and soon given up */
  constructor(http: HttpCaller, direct: HttpCaller, clock: Clock) {
    this.http = http;
    this.#direct = direct;
    this.#clock = clock;
  }

  /**
   * @param region where STS is asked
   * @throws as `findAwsIdentity`
   */
  find(settings: AwsIdentitySettings, region: string, { signal }: CallOptions): Promise<AwsIdentity> {
    const given = { region, direct: this.#direct, turns: this.#turns, signal, now: this.#clock.now() };
    return findAwsIdentity(settings, { ...given, requestHandler: this.requests({ signal }) });
  }

  /**
   * @returns undefined where this machine is set up for none
   * @throws as `findAwsRegion`
   */
  findRegion({ profile }: AwsIdentitySettings, { signal }: CallOptions): Promise<string | undefined> {
    return findAwsRegion(profile, { direct: this.#direct, signal });
  }

  /** For a client of the SDK's. */
  requests({ signal }: CallOptions): SdkRequestHandler {
    return sdkRequests(this.http, signal);
  }

  async close(): Promise<void> {
    this.#turns.close();
    await Promise.all([this.http.close(), this.#direct.close()]);
  }
}
