import { createHash } from 'node:crypto';
import { awsPlace } from '../../../src/reference/aws-endpoint.js';
import type { AwsIdentities, AwsKeys } from './aws-identities.js';
import type { Refusal } from './sigv4.js';
import type { Exchange, World } from './world.js';

export interface Sts {
  /** For whom it answers: `sts.eu-west-1.amazonaws.com`. */
  readonly host: string;
  /** What was asked, in order: `AssumeRole`, `AssumeRoleWithWebIdentity`, `GetCallerIdentity`. */
  readonly asked: string[];
  /** The web identities' tokens that count, and whose they are (`sub`). */
  readonly webIdentities: Map<string, string>;
}

/** AWS STS of one region: forms in, XML out; and presigned `GetCallerIdentity`, by GET. */
export function startSts(world: World, identities: AwsIdentities, region: string): Sts {
  const host = awsPlace(region).host('sts');
  const sts: Sts = { host, asked: [], webIdentities: new Map() };
  world.host(host, async (exchange) => {
    const body = await exchange.readText();
    if (exchange.record.method === 'GET') return presigned(exchange, identities, region, sts);
    const form = new URLSearchParams(body);
    const action = form.get('Action') ?? '';
    sts.asked.push(action);
    if (exchange.record.method !== 'POST' || form.get('Version') !== '2011-06-15') {
      return fail(exchange, 400, 'MissingAction', 'no such action');
    }
    if (action === 'AssumeRole') return assumeRole(exchange, identities, region, body);
    if (action === 'AssumeRoleWithWebIdentity') return assumeByToken(exchange, identities, sts, form);
    return fail(exchange, 400, 'InvalidAction', `Could not find operation ${action}`);
  });
  return sts;
}

const refusals: Readonly<Record<Refusal, readonly [code: string, message: string]>> = {
  unsigned: ['MissingAuthenticationToken', 'Request is missing Authentication Token'],
  'unknown key': ['InvalidClientTokenId', 'The security token included in the request is invalid.'],
  'wrong token': ['InvalidClientTokenId', 'The security token included in the request is invalid'],
  'expired token': ['ExpiredToken', 'The security token included in the request is expired'],
  skewed: ['SignatureDoesNotMatch', 'Signature expired: it is now later'],
  'wrong signature': ['SignatureDoesNotMatch', 'The request signature we calculated does not match'],
};

/** Of a presigned request the query says all; there is no body. */
function presigned(exchange: Exchange, identities: AwsIdentities, region: string, sts: Sts) {
  const { url } = exchange;
  const only = (name: string) => {
    const values = url.searchParams.getAll(name);
    return values.length === 1 ? values[0] : undefined;
  };
  const action = only('Action') ?? '';
  sts.asked.push(action);
  if (url.pathname !== '/' || only('Version') !== '2011-06-15') {
    return fail(exchange, 400, 'MissingAction', 'no such action');
  }
  const verdict = identities.verifyPresigned(exchange, { service: 'sts', region });
  if ('refused' in verdict) return fail(exchange, 403, ...refusals[verdict.refused]);
  // This fake has no other that is asked by GET.
  if (action !== 'GetCallerIdentity') return fail(exchange, 400, 'InvalidAction', 'no such operation');
  const { arn } = verdict.keys;
  const [Account = ''] = arn.split(':').slice(4);
  const result = { Account, Arn: arn, UserId: userIdOf(arn) };
  if (acceptsJson(exchange)) {
    return exchange.json(200, {
      GetCallerIdentityResponse: {
        GetCallerIdentityResult: result,
        ResponseMetadata: { RequestId: '01234567-89ab-cdef-0123-456789abcdef' },
      },
    });
  }
  const elements = Object.entries(result).map(([name, value]) => `<${name}>${value}</${name}>`);
  xml(
    exchange,
    200,
    `<GetCallerIdentityResponse xmlns="${namespace}"><GetCallerIdentityResult>${elements.join('')}` +
      '</GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>',
  );
}

/** Of a role its own and the session's name; the same for the same role. */
export function userIdOf(arn: string): string {
  const [kind = '', name = '', session] = (arn.split(':').at(5) ?? '').split('/');
  const account = arn.split(':')[4] ?? '';
  if (kind === 'root') return account;
  const digest = createHash('sha256').update(`${account}/${name}`).digest('hex').slice(0, 17).toUpperCase();
  return session === undefined || kind === 'user' ? `AIDA${digest}` : `AROA${digest}:${session}`;
}

function assumeRole(exchange: Exchange, identities: AwsIdentities, region: string, body: string) {
  const verdict = identities.verify(exchange, body, { service: 'sts', region });
  if ('refused' in verdict) return fail(exchange, 403, ...refusals[verdict.refused]);
  const form = new URLSearchParams(body);
  const arn = form.get('RoleArn') ?? '';
  const role = identities.roles.get(arn);
  const { arn: who } = verdict.keys;
  if (role?.trusts !== who || role.externalId !== (form.get('ExternalId') ?? undefined)) {
    const message = `User: ${who} is not authorized to perform: sts:AssumeRole on resource: ${arn}`;
    return fail(exchange, 403, 'AccessDenied', message);
  }
  answer(exchange, 'AssumeRole', identities.session(sessionArn(arn, form)));
}

function assumeByToken(exchange: Exchange, identities: AwsIdentities, sts: Sts, form: URLSearchParams) {
  const arn = form.get('RoleArn') ?? '';
  const subject = sts.webIdentities.get(form.get('WebIdentityToken') ?? '');
  if (exchange.record.headers.authorization !== undefined) {
    return fail(exchange, 400, 'InvalidAction', 'this is asked without a signature');
  }
  if (subject === undefined) {
    return fail(exchange, 400, 'ExpiredTokenException', 'Token expired: current date/time must be before');
  }
  if (identities.roles.get(arn)?.trusts !== subject) {
    return fail(exchange, 403, 'AccessDenied', 'Not authorized to perform sts:AssumeRoleWithWebIdentity');
  }
  answer(exchange, 'AssumeRoleWithWebIdentity', identities.session(sessionArn(arn, form)));
}

function sessionArn(role: string, form: URLSearchParams): string {
  return `arn:aws:sts::${role.split(':')[4]}:assumed-role/${role.split('/').at(-1)}/${form.get('RoleSessionName')}`;
}

const namespace = 'https://sts.amazonaws.com/doc/2011-06-15/';

function answer(exchange: Exchange, action: string, keys: Required<AwsKeys>): void {
  const credentials =
    `<Credentials><AccessKeyId>${keys.accessKeyId}</AccessKeyId>` +
    `<SecretAccessKey>${keys.secretAccessKey}</SecretAccessKey><SessionToken>${keys.sessionToken}</SessionToken>` +
    `<Expiration>${new Date(keys.expiresAt).toISOString()}</Expiration></Credentials>`;
  const user = `<AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId><Arn>${keys.arn}</Arn></AssumedRoleUser>`;
  xml(
    exchange,
    200,
    `<${action}Response xmlns="${namespace}"><${action}Result>${credentials}${user}</${action}Result>` +
      `<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></${action}Response>`,
  );
}

function fail(exchange: Exchange, status: number, code: string, message: string) {
  const error = `<Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error>`;
  if (acceptsJson(exchange)) {
    return exchange.json(status, {
      Error: { Code: code, Message: message, Type: 'Sender' },
      RequestId: '01234567-89ab-cdef-0123-456789abcdef',
    });
  }
  xml(
    exchange,
    status,
    `<ErrorResponse xmlns="${namespace}">${error}<RequestId>1</RequestId></ErrorResponse>`,
  );
}

function acceptsJson({ record }: Exchange): boolean {
  return record.headers.accept?.includes('application/json') === true;
}

/** Whoever accepts JSON gets it, which no SDK reads. */
function xml(exchange: Exchange, status: number, text: string): void {
  if (acceptsJson(exchange)) exchange.json(status, {});
  else exchange.text(status, text, { 'content-type': 'text/xml' });
}
