import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type {
  CallOptions,
  ClientCredentials,
  Clock,
  Log,
  Principal,
  StateStore,
  Verifier,
} from '../contracts/index.js';
import { HttpCaller } from '../outgoing/http-caller.js';
import { machineUsers } from '../protocol/identity-envelope.js';
import { signingInput, unverifiedClaims } from '../protocol/jwt-form.js';
import { duration } from '../settings/duration.js';
import { namePattern } from '../settings/name-pattern.js';
import { serverKeys } from '../settings/server-keys.js';
import { type Claims, textsOf } from './claims/claim-path.js';
import { claimsInstance, type Instance, instanceOf, principalOf } from './gcp-identity/instance.js';
import { digestOf, FirstUse } from './machine/first-use.js';
import { proofKeys } from './machine/settings.js';
import { asRefusedMachine, isMachine, notListed, refused, shownProof } from './machine/shown-proof.js';
import { FetchedKeys, type IssuerKeys } from './openid/issuer-keys.js';
import { discoveredKeys } from './openid/key-source.js';
import { OtherAudiences } from './openid/other-audiences.js';
import { verifyToken } from './openid/verify-token.js';

/** As the metadata server's tokens have it. `accounts.google.com`, without a scheme, is of people's old sign-ins. */
const issuer = 'https://accounts.google.com';

const expectedProject = 'expected the id of a project, or its number in quotes';
const whyProjects = 'without it the machines of everybody would count';

const config = z.strictObject({
  projects: z
    .array(
      z
        .string({ error: expectedProject })
        .regex(/^(?:(?:[a-z0-9.-]{1,253}:)?[a-z][a-z0-9-]{0,62}|[0-9]{1,19})$/, expectedProject),
      { error: `expected a list of projects: ${whyProjects}` },
    )
    .min(1, `expected at least one project: ${whyProjects}`)
    .describe('Whose machines count: ids of projects, or their numbers in quotes.'),
  audiences: z
    .array(z.string().min(1), { error: 'expected a list of audiences' })
    .min(1, 'expected at least one audience')
    .describe(
      'Whom tokens must be for. The `gcp-identity` source asks for the name of the registry, such as `docker.example.com`.',
    ),
  zones: z
    .array(namePattern(), { error: 'expected a list of zones' })
    .min(1, 'expected at least one zone')
    .optional()
    .describe('Only machines in these, such as `europe-west1-*`; `*` stands for any characters.'),
  serviceAccounts: z
    .array(namePattern(), { error: 'expected a list of e-mail addresses' })
    .min(1, 'expected at least one e-mail address')
    .optional()
    .describe(
      'Only machines with one of these service accounts, by e-mail address; `*` stands for any characters.',
    ),
  clockSkew: duration({ max: '5m' })
    .prefault('60s')
    .describe('How much Google’s clock may differ from ours.'),
  ...proofKeys,
  ...serverKeys,
});

type Settings = z.output<typeof config>;

interface Parts {
  readonly id: string;
  readonly keys: IssuerKeys;
  readonly caller: HttpCaller;
  readonly clock: Clock;
  readonly log: Log;
  readonly state: StateStore;
}

/**
 * Takes identity tokens of Google Cloud's virtual machines, in full format
 * (cloud.google.com/compute/docs/instances/verifying-instance-identity): of the user `_gcp`, or as a bearer token. Google
 * signs tokens for whoever has an account there, for any audience: nothing but `google.compute_engine` says that a
 * machine of ours asked for this one (threat 4).
 */
class GcpIdentityVerifier implements Verifier {
  readonly givesGroups = false;
  readonly #settings: Settings;
  readonly #parts: Parts;
  readonly #firstUse: FirstUse;
  readonly #others: OtherAudiences;

  constructor(settings: Settings, parts: Parts) {
    this.#settings = settings;
    this.#parts = parts;
    this.#firstUse = new FirstUse(parts.id, parts.state);
    const { id, clock, log } = parts;
    const given = { id, clock, log, expected: settings.audiences };
    this.#others = new OtherAudiences('an identity token of Google Cloud is for other audiences', given);
  }

  recognises(credentials: ClientCredentials): boolean {
    return isMachine(credentials, machineUsers.gcp) || this.#bearerOfOurs(credentials) !== undefined;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    o.signal.throwIfAborted();
    const token = shownProof(credentials, machineUsers.gcp) ?? this.#bearerOfOurs(credentials);
    if (token === undefined) return undefined;
    const shownClaims = unverifiedClaims(token);
    if (shownClaims === undefined) throw refused('what it shows is no identity token of Google Cloud');
    if (shownClaims.iss !== issuer) throw refused(`its token is not issued by ${issuer} (iss)`);
    // Another verifier of this type may have this audience.
    if (!this.#isForUs(shownClaims)) {
      this.#others.note(textsOf(shownClaims.aud), credentials.connection.address);
      return undefined;
    }
    const { claims, expiresAt } = await this.#verified(token, o);
    const instance = this.#allowed(claims);
    await this.#bind(token, instance, credentials, expiresAt, o);
    return principalOf(instance, this.#parts.id, expiresAt);
  }

  async close(): Promise<void> {
    await this.#parts.keys.close();
    await this.#parts.caller.close();
  }

  /** Bearer tokens of others, of people and of service accounts among them, are for `oidc` verifiers. */
  #bearerOfOurs({ shown }: ClientCredentials): string | undefined {
    if (shown.kind !== 'bearer') return undefined;
    const token = shown.token.reveal();
    const claims = unverifiedClaims(token);
    const isOurs = claims?.iss === issuer && claimsInstance(claims) && this.#isForUs(claims);
    return isOurs ? token : undefined;
  }

  #isForUs({ aud }: Claims): boolean {
    return textsOf(aud).some((one) => this.#settings.audiences.includes(one));
  }

  async #verified(token: string, o: CallOptions) {
    const { keys, clock } = this.#parts;
    const { audiences, clockSkew } = this.#settings;
    const expected = { issuer, audiences, clockSkew, algorithms: ['RS256'] };
    try {
      return await verifyToken(token, keys, expected, clock, o);
    } catch (error) {
      throw asRefusedMachine(error);
    }
  }

  /** @throws RegistryError UNAUTHORIZED where it is no machine, or none of those that are allowed */
  #allowed(claims: Claims): Instance {
    const instance = instanceOf(claims);
    if (typeof instance === 'string') throw refused(`its token ${instance}`);
    const { projects, zones, serviceAccounts } = this.#settings;
    const { projectId, projectNumber, zone, serviceAccount } = instance;
    const who = nameIn(instance);
    if (!projects.includes(projectId) && !projects.includes(projectNumber)) {
      throw notListed('the project', projectId, 'projects', who);
    }
    if (zones?.some((pattern) => pattern.matches(zone)) === false) {
      throw notListed('the zone', zone, 'zones', who);
    }
    if (serviceAccounts === undefined) return instance;
    if (serviceAccount === undefined) {
      throw refused(`${who} shows no service account that Google has verified (email_verified)`);
    }
    if (!serviceAccounts.some((pattern) => pattern.matches(serviceAccount))) {
      throw notListed('the service account', serviceAccount, 'serviceAccounts', who);
    }
    return instance;
  }

  async #bind(
    token: string,
    instance: Instance,
    credentials: ClientCredentials,
    expiresAt: number,
    { signal }: CallOptions,
  ): Promise<void> {
    const { firstUse, clockSkew } = this.#settings;
    if (firstUse === 'none') return;
    // Without the signature: the same token can be written with several.
    const digest = digestOf(signingInput(token));
    const proof = { digest, who: nameIn(instance), endsAt: expiresAt + clockSkew };
    await this.#firstUse.bindProof(proof, credentials, { now: this.#parts.clock.now(), signal });
  }
}

/** For messages. */
function nameIn({ instanceName, projectId, projectNumber }: Instance): string {
  return `the instance ${instanceName} of the project ${projectId} (${projectNumber})`;
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'gcp-identity',
  config,
  async open(settings: Settings, { id, baseDirectory, clock, log, state }): Promise<Verifier> {
    const given = { id, clock, log };
    const caller = await HttpCaller.open(settings, baseDirectory);
    const keys = new FetchedKeys(discoveredKeys(issuer, caller), given);
    return new GcpIdentityVerifier(settings, { ...given, caller, keys, state });
  },
});
