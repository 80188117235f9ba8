import { LRUCache } from 'lru-cache';
import type { CallOptions, Clock } from '../../contracts/index.js';
import { SingleFlight } from '../../decorators/single-flight.js';
import { RegistryError } from '../../errors.js';
import type { AwsCallers } from '../../outgoing/aws/aws-callers.js';
import { awsFailure } from '../../outgoing/aws/aws-failure.js';
import type { AwsIdentitySettings } from '../../outgoing/aws/aws-identity.js';
import type { AwsIdentity } from '../../outgoing/aws/identity-call.js';
import { signedHeaders } from '../../outgoing/aws/signing.js';
import { awsPlace } from '../../reference/aws-endpoint.js';
import { refused } from '../machine/shown-proof.js';
import { type KnownInstance, readErrorCode, readInstance } from './ec2-answer.js';
import type { IdentityDocument } from './identity-document.js';
import { instanceName } from './instance-rules.js';
import { XmlError } from './xml-element.js';

export interface RunningInstancesParts {
  readonly settings: AwsIdentitySettings;
  readonly callers: AwsCallers;
  readonly clock: Clock;
}

/** Stands for the account of the document in the ARN of `assumeRole`. */
export const accountPlaceholder = '{accountId}';

/** Milliseconds that what EC2 said counts: where the instance runs, and where it does not. */
const knownTime = 60_000;
const goneTime = 10_000;
/** Milliseconds that AWS credentials serve for the next questions. */
const identityTime = 60_000;
const timeLimit = 30_000;
const maxKept = 10_000;
const states: readonly string[] = ['pending', 'running'];
const unknownInstance: readonly string[] = ['InvalidInstanceID.NotFound', 'InvalidInstanceID.Malformed'];

interface Known {
  readonly instance: KnownInstance | undefined;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

interface Shared {
  readonly identity: AwsIdentity;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

/** Asks EC2 whether an instance is still there: its document says so for ever. */
export class RunningInstances {
  readonly #parts: RunningInstancesParts;
  readonly #questions = new SingleFlight<Known>(timeLimit);
  readonly #searches = new SingleFlight<AwsIdentity>(timeLimit);
  readonly #known = new LRUCache<string, Known>({ max: maxKept });
  readonly #shared = new LRUCache<string, Shared>({ max: maxKept });

  constructor(parts: RunningInstancesParts) {
    this.#parts = parts;
  }

  /** @throws RegistryError UNAUTHORIZED where it does not run, or is another than the document says; UNAVAILABLE */
  async require({ accountId, instanceId, region, imageId }: IdentityDocument, o: CallOptions): Promise<void> {
    const key = `${accountId} ${instanceId} ${region}`;
    const known = this.#known.get(key);
    const { instance } =
      known !== undefined && this.#parts.clock.now() < known.until
        ? known
        : await this.#questions.run(key, o, async (signal) => {
            const found = await this.#ask({ accountId, instanceId, region }, signal);
            this.#known.set(key, found);
            return found;
          });
    const name = instanceName({ region, accountId, instanceId });
    if (instance === undefined) {
      throw refused(
        `EC2 in ${region} shows no instance ${name}: it is gone, or of another account than is asked as (describeInstances.assumeRole)`,
      );
    }
    if (instance.ownerId !== accountId)
      throw refused(`EC2 says that ${name} is of account ${instance.ownerId}`);
    if (!states.includes(instance.state)) throw refused(`EC2 says that ${name} is ${instance.state}`);
    if (instance.imageId !== imageId)
      throw refused(`EC2 says that ${name} was made from ${instance.imageId}`);
  }

  async close(): Promise<void> {
    this.#questions.close();
    this.#searches.close();
    await this.#parts.callers.close();
  }

  async #ask(
    { accountId, instanceId, region }: Pick<IdentityDocument, 'accountId' | 'instanceId' | 'region'>,
    signal: AbortSignal,
  ): Promise<Known> {
    const { callers, clock } = this.#parts;
    const who = `EC2 in ${region}`;
    const host = awsPlace(region).host('ec2');
    const body = new URLSearchParams({
      Action: 'DescribeInstances',
      Version: '2016-11-15',
      'InstanceId.1': instanceId,
    }).toString();
    const identity = await this.#identity(accountId, region, signal);
    const request = {
      method: 'POST',
      host,
      headers: { accept: '*/*', 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' },
      body,
    } as const;
    const headers = await signedHeaders(request, { identity, service: 'ec2', region, now: clock.now() });
    const { status, text } = await callers.http.call({
      url: new URL(`https://${host}/`),
      ...{ method: 'POST', headers, body, signal },
    });
    const instance = status === 200 ? instanceIn(text, instanceId, who) : this.#failed(status, text, who);
    const runs = instance !== undefined && states.includes(instance.state);
    return { instance, until: clock.now() + (runs ? knownTime : goneTime) };
  }

  /** @returns undefined where EC2 says that there is no such instance. @throws RegistryError UNAVAILABLE */
  #failed(status: number, text: string, who: string): undefined {
    const { code, message } = readErrorCode(text) ?? {};
    if (status === 400 && code !== undefined && unknownInstance.includes(code)) return undefined;
    throw awsFailure({ name: code, message, $metadata: { httpStatusCode: status } }, who);
  }

  async #identity(accountId: string, region: string, signal: AbortSignal): Promise<AwsIdentity> {
    const { settings, callers, clock } = this.#parts;
    const { profile, assumeRole } = settings;
    const role = assumeRole && {
      ...assumeRole,
      arn: assumeRole.arn.replace(accountPlaceholder, accountId),
    };
    // The region says where STS is asked.
    const key = `${region} ${role?.arn ?? ''}`;
    const shared = this.#shared.get(key);
    if (shared !== undefined && clock.now() < shared.until) return shared.identity;
    const identity = await this.#searches.run(key, { signal }, (searching) =>
      callers.find({ profile, assumeRole: role }, region, { signal: searching }),
    );
    const end = identity.expiration?.getTime() ?? Number.POSITIVE_INFINITY;
    this.#shared.set(key, { identity, until: Math.min(clock.now() + identityTime, end) });
    return identity;
  }
}

function instanceIn(text: string, instanceId: string, who: string): KnownInstance | undefined {
  try {
    return readInstance(text, instanceId);
  } catch (cause) {
    if (!(cause instanceof XmlError)) throw cause;
    throw new RegistryError('UNAVAILABLE', { reason: `${who} sent an answer that cannot be used`, cause });
  }
}
