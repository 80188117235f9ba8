import type {
  CallOptions,
  Clock,
  Credential,
  CredentialSource,
  CredentialTarget,
  Log,
} from '../../contracts/index.js';
import { SingleFlight, untilAborted } from '../../decorators/single-flight.js';
import { RegistryError } from '../../errors.js';
import type { AwsCallers } from '../../outgoing/aws/aws-callers.js';
import { awsErrorName, awsFailure } from '../../outgoing/aws/aws-failure.js';
import type { AwsIdentitySettings } from '../../outgoing/aws/aws-identity.js';
import type { AwsIdentity } from '../../outgoing/aws/identity-call.js';
import { parseEcrHost } from '../../reference/ecr-host.js';
import { Secret } from '../../secret.js';
import {
  createRepository,
  type EcrCall,
  type EcrPlace,
  type EcrToken,
  ecrPlace,
  getAuthorizationToken,
  type NewRepository,
} from './ecr-api.js';
import { RepositoryCreations } from './repository-creations.js';
import { repositoryFailure } from './repository-failure.js';

export interface EcrSourceSettings extends AwsIdentitySettings {
  readonly region?: string | undefined;
  readonly registry?: string | undefined;
  readonly endpoint?: string | undefined;
  /** Absent: repositories are not ours to make. */
  readonly newRepositories?: NewRepository | undefined;
}

export interface EcrSourceParts {
  readonly settings: EcrSourceSettings;
  readonly callers: AwsCallers;
  readonly id: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Milliseconds to find AWS credentials for creations, and for those to serve the next ones. */
const searchTime = 30_000;
const sharedTime = 5_000;

/** Tokens of Amazon's registries, each had with AWS credentials that were looked for anew. */
export class EcrSource implements CredentialSource {
  readonly #parts: EcrSourceParts;
  readonly #creations: RepositoryCreations;
  readonly #searches = new SingleFlight<AwsIdentity>(searchTime);
  /** For creations, by region: a push of many images does not ask STS for each. */
  readonly #shared = new Map<string, { readonly identity: AwsIdentity; readonly until: number }>();

  constructor(parts: EcrSourceParts) {
    this.#parts = parts;
    this.#creations = new RepositoryCreations(parts.clock);
  }

  async credentialFor(target: CredentialTarget, o: CallOptions): Promise<Credential> {
    o.signal.throwIfAborted();
    const place = this.#placeOf(target);
    // Some of the SDK's waits know of no signal.
    const token = await untilAborted(this.#token(place, o), o.signal);
    return toCredential(token, nameOf(place), this.#parts.clock.now());
  }

  /** One token opens all registries of a region. */
  keyFor({ registry }: CredentialTarget): string {
    const place = ecrPlace(parseEcrHost(registry), this.#parts.settings);
    return place === undefined ? registry : `${place.kind} ${place.region}`;
  }

  async createRepository(target: Required<CredentialTarget>, o: CallOptions): Promise<boolean> {
    const wanted = this.#parts.settings.newRepositories;
    if (wanted === undefined) return false;
    const place = this.#placeOf(target);
    // Its names begin with an alias of the registry, which the API does not take.
    if (place.kind === 'public') return false;
    const create = (signal: AbortSignal) => this.#create(place, target.name, wanted, signal);
    try {
      await this.#creations.run(`${target.registry}/${target.name}`, o, create);
      return true;
    } catch (error) {
      if (error instanceof RegistryError || o.signal.aborted) throw error;
      throw new RegistryError('UNAVAILABLE', {
        reason: `${nameOf(place)} created no repository`,
        cause: error,
      });
    }
  }

  async close(): Promise<void> {
    this.#creations.close();
    this.#searches.close();
    await this.#parts.callers.close();
  }

  async #token(place: EcrPlace, { signal }: CallOptions): Promise<EcrToken> {
    const identity = await this.#find(place, signal);
    return getAuthorizationToken(place, this.#call(identity, signal)).catch((error: unknown) => {
      throw awsFailure(error, nameOf(place));
    });
  }

  async #create(place: EcrPlace, name: string, wanted: NewRepository, signal: AbortSignal): Promise<void> {
    const { id, log } = this.#parts;
    const service = nameOf(place);
    const identity = await this.#sharedIdentity(place, signal);
    try {
      await createRepository(place, name, wanted, this.#call(identity, signal));
      log.info({ id, repository: name, region: place.region }, 'a repository was created for a push');
    } catch (error) {
      signal.throwIfAborted();
      // Somebody else's push was first.
      if (awsErrorName(error) === 'RepositoryAlreadyExistsException') return;
      const failure = repositoryFailure(error, service);
      log.warn({ id, repository: name, reason: failure.reason }, 'a repository cannot be created');
      throw failure;
    }
  }

  async #sharedIdentity(place: EcrPlace, signal: AbortSignal): Promise<AwsIdentity> {
    const { region } = place;
    const now = this.#parts.clock.now();
    const shared = this.#shared.get(region);
    if (shared !== undefined && now < shared.until) return shared.identity;
    const identity = await this.#searches.run(region, { signal }, (searching) =>
      this.#find(place, searching),
    );
    const end = identity.expiration?.getTime() ?? Number.POSITIVE_INFINITY;
    this.#shared.set(region, { identity, until: Math.min(now + sharedTime, end) });
    return identity;
  }

  #find({ region }: EcrPlace, signal: AbortSignal): Promise<AwsIdentity> {
    const { settings, callers } = this.#parts;
    return callers.find(settings, region, { signal });
  }

  #call(identity: AwsIdentity, signal: AbortSignal): EcrCall {
    return { identity, requestHandler: this.#parts.callers.requests({ signal }), signal };
  }

  #placeOf({ registry }: CredentialTarget): EcrPlace {
    const place = ecrPlace(parseEcrHost(registry), this.#parts.settings);
    if (place !== undefined) return place;
    throw new RegistryError('UNAVAILABLE', {
      reason:
        `${registry} is no host of ECR (ACCOUNT.dkr.ecr.REGION.amazonaws.com, public.ecr.aws): ` +
        'set `region` of its credentials where ECR stands behind that name',
    });
  }
}

function nameOf({ kind, region }: EcrPlace): string {
  return kind === 'public' ? 'ECR Public' : `ECR in ${region}`;
}

/** @throws RegistryError UNAVAILABLE where the answer holds no token */
function toCredential({ authorizationToken, expiresAt }: EcrToken, what: string, now: number): Credential {
  const text = Buffer.from(authorizationToken ?? '', 'base64').toString('utf8');
  const colon = text.indexOf(':');
  const end = expiresAt?.getTime() ?? Number.NaN;
  if (colon < 1 || colon === text.length - 1 || Number.isNaN(end)) {
    throw new RegistryError('UNAVAILABLE', { reason: `${what} sent no token` });
  }
  return {
    kind: 'basic',
    username: text.slice(0, colon),
    password: new Secret(text.slice(colon + 1)),
    expiresAt: end,
    refreshAt: now + (end - now) / 2,
  };
}
