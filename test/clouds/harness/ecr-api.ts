import { randomBytes } from 'node:crypto';
import { parseBasic } from '../../../src/testing/basic-credentials.js';
import type { AwsIdentities, AwsKeys } from './aws-identities.js';
import type { Refusal } from './sigv4.js';
import type { Exchange, World } from './world.js';

/** A password that ECR handed out. */
export interface EcrPassword {
  readonly arn: string;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

/** What the next requests are answered instead. */
export interface EcrFault {
  readonly status: number;
  readonly type: string;
  /** How many requests; all from now on where it is missing. */
  times?: number;
}

export interface EcrApi {
  readonly region: string;
  /** By password, the user being `AWS`. */
  readonly passwords: Map<string, EcrPassword>;
  /** As they were created: the request's own fields. */
  readonly created: Record<string, unknown>[];
  /** `ACCOUNT/NAME`. */
  readonly repositories: Set<string>;
  /** Names of the operations, in order. */
  readonly asked: string[];
  fault: EcrFault | undefined;
  /** Every request gets the last password again. */
  steady: boolean;
  /** Milliseconds of a password that is given from now on; twelve hours at first. */
  lifetime: number;
  /** Milliseconds since the epoch, for `expiresAt`. */
  now: () => number;
  /** The passwords that were given so far do not count any more: 403 at the registry. */
  expireAll(): void;
}

const twelveHours = 12 * 3_600_000;

const refusals: Readonly<Record<Refusal, readonly [type: string, message: string]>> = {
  unsigned: ['MissingAuthenticationTokenException', 'Missing Authentication Token'],
  'unknown key': ['UnrecognizedClientException', 'The security token included in the request is invalid.'],
  'wrong token': ['UnrecognizedClientException', 'The security token included in the request is invalid'],
  'expired token': ['ExpiredTokenException', 'The security token included in the request is expired'],
  skewed: ['InvalidSignatureException', 'Signature not yet current: it is earlier now'],
  'wrong signature': ['InvalidSignatureException', 'The request signature we calculated does not match'],
};

/** Amazon ECR's API of one region; `us-east-1` of ECR Public with `public`. */
export function startEcrApi(
  world: World,
  identities: AwsIdentities,
  { region, kind = 'private', host }: { region: string; kind?: 'private' | 'public'; host?: string },
): EcrApi {
  const isPublic = kind === 'public';
  const service = isPublic ? 'ecr-public' : 'ecr';
  const prefix = isPublic ? 'SpencerFrontendService.' : 'AmazonEC2ContainerRegistry_V20150921.';
  const api: EcrApi = {
    region,
    ...{ passwords: new Map(), created: [], repositories: new Set(), asked: [] },
    ...{ fault: undefined, steady: false, lifetime: twelveHours, now: Date.now },
    expireAll: () => {
      for (const password of api.passwords.values()) password.expiresAt = 0;
    },
  };
  world.host(host ?? `api.${service}.${region}.amazonaws.com`, async (exchange) => {
    const body = await exchange.readText();
    const { method, headers } = exchange.record;
    const target = String(headers['x-amz-target'] ?? '');
    const operation = target.startsWith(prefix) ? target.slice(prefix.length) : '';
    api.asked.push(operation);
    const date = { date: new Date(identities.now()).toUTCString() };
    const answer = (status: number, value: object) =>
      exchange.json(status, value, { 'content-type': 'application/x-amz-json-1.1', ...date });
    const fail = (type: string, message: string, status = 400) => answer(status, { __type: type, message });
    const { fault } = api;
    if (fault !== undefined) {
      if (fault.times !== undefined && --fault.times <= 0) api.fault = undefined;
      return fail(fault.type, 'a fault', fault.status);
    }
    if (method !== 'POST' || headers['content-type'] !== 'application/x-amz-json-1.1') {
      return fail('UnknownOperationException', '');
    }
    const verdict = identities.verify(exchange, body, { service, region });
    if ('refused' in verdict) {
      const [type, message] = refusals[verdict.refused];
      // AWS repeats the request it would have signed, with the session's token in it.
      const shown = `The Canonical String should have been 'POST / x-amz-security-token:${headers['x-amz-security-token']}'`;
      return fail(type, verdict.refused === 'wrong signature' ? `${message}. ${shown}` : message);
    }
    const { arn } = verdict.keys;
    const action = `${service}:${operation}`;
    if (identities.forbidden.has(`${arn} ${action}`)) {
      const why = 'because no identity-based policy allows the action';
      return fail(
        'AccessDeniedException',
        `User: ${arn} is not authorized to perform: ${action} on resource: * ${why}`,
      );
    }
    if (operation === 'GetAuthorizationToken') {
      const token = givePassword(api, identities, verdict.keys);
      return answer(200, {
        authorizationData: isPublic ? token : [{ ...token, proxyEndpoint: endpoint(region) }],
      });
    }
    if (operation === 'CreateRepository' && !isPublic) return create(api, JSON.parse(body), answer, fail);
    return fail('UnknownOperationException', '');
  });
  return api;
}

function endpoint(region: string): string {
  return `https://123456789012.dkr.ecr.${region}.amazonaws.com`;
}

function givePassword(api: EcrApi, identities: AwsIdentities, { arn }: AwsKeys) {
  const last = [...api.passwords.keys()].at(-1);
  const password = api.steady && last !== undefined ? last : randomBytes(90).toString('base64');
  const expiresAt = api.now() + api.lifetime;
  api.passwords.set(password, { arn, expiresAt });
  identities.secrets.push(password);
  const authorizationToken = Buffer.from(`AWS:${password}`).toString('base64');
  return { authorizationToken, expiresAt: expiresAt / 1000 };
}

type Answer = (status: number, value: object) => void;
type Fail = (type: string, message: string, status?: number) => void;

function create(api: EcrApi, request: Record<string, unknown>, answer: Answer, fail: Fail) {
  const { repositoryName: name, registryId = '123456789012' } = request;
  const id = `${registryId}/${name}`;
  if (typeof name !== 'string' || !/^(?=.{2,256}$)[a-z0-9]+(?:[._/-][a-z0-9]+)*$/.test(name)) {
    return fail(
      'InvalidParameterException',
      "Invalid parameter at 'repositoryName' failed to satisfy constraint",
    );
  }
  if (api.repositories.has(id)) {
    const message = `The repository with name '${name}' already exists in the registry with id '${registryId}'`;
    return fail('RepositoryAlreadyExistsException', message);
  }
  api.repositories.add(id);
  api.created.push(request);
  answer(200, { repository: { repositoryName: name, registryId, createdAt: api.now() / 1000 } });
}

/** Who shows a password at a registry: `AWS:password` as Basic. */
export function ecrUser(api: EcrApi, { record }: Exchange): EcrPassword | 'expired' | 'none' | 'wrong' {
  const { authorization } = record.headers;
  if (authorization === undefined) return 'none';
  const { username, password = '' } = parseBasic(authorization) ?? {};
  const known = api.passwords.get(password);
  if (username !== 'AWS' || known === undefined) return 'wrong';
  return known.expiresAt <= api.now() ? 'expired' : known;
}
