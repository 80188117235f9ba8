import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, ClientCredentials, Clock, Log, Principal, Verifier } from '../contracts/index.js';
import { widerNetwork } from '../decorators/client-network.js';
import { HttpCaller } from '../outgoing/http-caller.js';
import { machineUsers } from '../protocol/identity-envelope.js';
import { serverIdPattern } from '../protocol/sts-proof.js';
import { duration } from '../settings/duration.js';
import { type NamePattern, namePattern } from '../settings/name-pattern.js';
import { serverKeys } from '../settings/server-keys.js';
import type { CallerIdentity } from './aws-sts/caller-identity.js';
import { type PresignedRequest, parsePresignedRequest } from './aws-sts/presigned-request.js';
import { StsClient } from './aws-sts/sts-client.js';
import { awsPartitionsKey, awsRegions, checkAwsRegions, requireRegion } from './machine/aws-regions.js';
import { digestOf, FirstUse } from './machine/first-use.js';
import { awsAccounts, proofKeys } from './machine/settings.js';
import { isMachine, notListed, refused, shownProof } from './machine/shown-proof.js';
import { OtherAudiences } from './openid/other-audiences.js';

const expectedAudience = 'expected a name without spaces and question marks, such as docker.example.com';

const config = z
  .strictObject({
    accounts: awsAccounts().describe('The AWS accounts whose machines count, by their 12 digits.'),
    roles: z
      .array(namePattern(), { error: 'expected a list of roles' })
      .prefault(['*'])
      .describe(
        'Only these IAM roles of `accounts`: by name (`ci-*`), or by ARN without path (`arn:aws:iam::123456789012:role/ci`). `[]` for none.',
      ),
    users: z
      .array(namePattern(), { error: 'expected a list of users' })
      .default([])
      .describe(
        'IAM users that count beside `roles`, by name or ARN. Without it none: their keys do not end. The root user and federated users never do.',
      ),
    audiences: z
      .array(z.string({ error: expectedAudience }).regex(serverIdPattern, expectedAudience), {
        error: 'expected a list of audiences',
      })
      .min(1, 'expected at least one audience')
      .describe(
        'Whom requests must be signed for: what clients know this proxy by, usually its host. Choose one that nothing else accepts.',
      ),
    regions: awsRegions()
      .optional()
      .describe(
        'Only requests for STS of these regions. Without it those of every region of `partitions` whose name has a known form; one that does not must be named here.',
      ),
    partitions: awsPartitionsKey(),
    maxLife: duration({ min: '1m', max: '15m' })
      .prefault('15m')
      .describe('How long a request counts after its date, if it does not say less itself.'),
    clockSkew: duration({ max: '5m' })
      .prefault('60s')
      .describe('How far ahead of ours the clock of a machine may be.'),
    ...proofKeys,
    ...serverKeys,
  })
  .refine(({ roles, users }) => roles.length + users.length > 0, {
    path: ['roles'],
    error: 'leaves nobody: there are no users either',
  })
  .superRefine(checkAwsRegions);

type Settings = z.output<typeof config>;

interface Parts {
  readonly id: string;
  readonly caller: HttpCaller;
  readonly firstUse: FirstUse;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Takes requests to AWS STS, `GetCallerIdentity`, that a machine signed and did not send: sent by us, they say whose keys
 * those are. No key is handed out, and the request names this proxy.
 */
class AwsStsVerifier implements Verifier {
  readonly givesGroups = false;
  readonly #settings: Settings;
  readonly #parts: Parts;
  readonly #sts: StsClient;
  readonly #others: OtherAudiences;

  constructor(settings: Settings, parts: Parts) {
    this.#settings = settings;
    this.#parts = parts;
    this.#sts = new StsClient(parts.caller, settings.regions);
    const { id, clock, log } = parts;
    const given = { id, clock, log, expected: settings.audiences };
    this.#others = new OtherAudiences('a request to STS is signed for another audience', given);
  }

  recognises(credentials: ClientCredentials): boolean {
    return isMachine(credentials, machineUsers.sts);
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    o.signal.throwIfAborted();
    const proof = shownProof(credentials, machineUsers.sts);
    if (proof === undefined) return undefined;
    const request = parsePresignedRequest(proof);
    // Another verifier may be for that one.
    if (!this.#settings.audiences.includes(request.audience)) {
      this.#others.note([request.audience], credentials.connection.address);
      return undefined;
    }
    requireRegion(request.region, this.#settings, 'it is for the STS there');
    const expiresAt = this.#requireFresh(request);
    const network = widerNetwork(credentials.connection.address);
    const caller = await this.#sts.callerIdentity(request, network, o);
    this.#requireAllowed(caller);
    await this.#bind(request, caller, credentials, expiresAt, o);
    return principalOf(caller, request.region, this.#parts.id, expiresAt);
  }

  async close(): Promise<void> {
    await this.#parts.caller.close();
  }

  /** @returns its end, in milliseconds since the epoch */
  #requireFresh({ date, life }: PresignedRequest): number {
    const { maxLife, clockSkew } = this.#settings;
    const now = this.#parts.clock.now();
    if (date > now + clockSkew) {
      throw refused(`it is dated ${new Date(date).toISOString()}, in the future: do the clocks differ?`);
    }
    const end = Math.min(date, now) + Math.min(life, maxLife);
    if (end <= now) throw refused(`it has ended ${new Date(end).toISOString()}: do the clocks differ?`);
    return end;
  }

  #requireAllowed({ accountId, kind, name, entity, arn }: CallerIdentity): void {
    const { accounts, roles, users } = this.#settings;
    const isAmong = (patterns: readonly NamePattern[]) =>
      patterns.some((pattern) => pattern.matches(pattern.text.startsWith('arn:') ? entity : name));
    if (!accounts.includes(accountId)) throw notListed('the account', accountId, 'accounts', arn);
    if (kind === 'other') throw refused(`${arn} is neither a role nor a user`);
    if (kind === 'role' && !isAmong(roles)) throw notListed('the role', entity, 'roles', arn);
    if (kind === 'user' && !isAmong(users)) {
      // The usual case: the keys of whoever works on that machine were found before those of its role.
      const advice = 'users is not set: are these keys of a person, in ~/.aws or the environment?';
      throw notListed('the user', entity, 'users', users.length === 0 ? advice : undefined);
    }
  }

  async #bind(
    { signature }: PresignedRequest,
    { entity, arn: owner }: CallerIdentity,
    credentials: ClientCredentials,
    endsAt: number,
    { signal }: CallOptions,
  ): Promise<void> {
    if (this.#settings.firstUse === 'none') return;
    // By its signature, which whoever replays it must show as well.
    const proof = { digest: digestOf(signature), who: entity, endsAt, owner };
    // STS took its time.
    const now = this.#parts.clock.now();
    await this.#parts.firstUse.bindProof(proof, credentials, { now, signal });
  }
}

function principalOf(caller: CallerIdentity, region: string, id: string, expiresAt: number): Principal {
  const { accountId, partition, arn, entity, kind, name, sessionName, userId } = caller;
  return {
    verifier: id,
    name: entity,
    kind: 'machine',
    groups: [],
    attributes: {
      ...{ accountId, partition, region, arn, userId },
      [kind === 'role' ? 'role' : 'user']: name,
      ...(sessionName !== undefined && { sessionName }),
    },
    expiresAt,
  };
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'aws-sts',
  config,
  async open(settings: Settings, { id, baseDirectory, clock, log, state }): Promise<Verifier> {
    const caller = await HttpCaller.open(settings, baseDirectory);
    return new AwsStsVerifier(settings, { id, caller, firstUse: new FirstUse(id, state), clock, log });
  },
});
