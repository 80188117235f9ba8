import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { startLoopbackServer } from '../../../src/testing/loopback-server.js';
import type { AwsIdentities } from './aws-identities.js';

/** What goes wrong with it. */
export type ImdsFault =
  /** Switched off for the instance: 403. */
  | 'is off'
  /** As behind more hops than its limit is: the session's answer never arrives. */
  | 'hangs'
  /** Answers the session, and nothing else. */
  | 'hangs later'
  | 'fails'
  /** Somebody's portal answers everything with 200 and a page. */
  | 'is a portal'
  /** Sessions end at once: 401. */
  | 'forgets sessions';

export interface ImdsInstance {
  /** Under `/latest/dynamic/instance-identity/`, by name; what is not here is 404. */
  readonly documents: Readonly<Partial<Record<'document' | 'signature' | 'pkcs7' | 'rsa2048', string>>>;
}

export interface Imds {
  /** For AWS_EC2_METADATA_SERVICE_ENDPOINT. */
  readonly url: string;
  /** Methods and paths, in order. */
  readonly asked: string[];
  /** Of these, those without a session of version 2: it answers none. */
  readonly askedByVersion1: string[];
  /** The instance has no role any more: 404. */
  withoutRole: boolean;
  /** Absent: a stand-in that knows nothing of the instance itself. */
  instance: ImdsInstance | undefined;
  /** For `/latest/meta-data/placement/region`; absent: 404. */
  region: string | undefined;
  fault: ImdsFault | undefined;
  close(): Promise<void>;
}

const list = '/latest/meta-data/iam/security-credentials/';
const identity = '/latest/dynamic/instance-identity/';
const session = '/latest/api/token';
const role = 'node-role';

/** The metadata server of an EC2 instance with IMDSv2 only: nothing without a token of its own. */
export async function startImds(
  identities: AwsIdentities,
  arn: string,
  { instance, region }: { readonly instance?: ImdsInstance; readonly region?: string } = {},
): Promise<Imds> {
  const tokens = new Set<string>();
  const server = await startLoopbackServer((request, response) => {
    const { method = '', url = '', headers } = request;
    imds.asked.push(`${method} ${url}`);
    if (imds.fault !== undefined && misbehaves(imds.fault, request, response)) return;
    const answer = (status: number, text: string, more: Record<string, string> = {}) =>
      response.writeHead(status, { 'content-type': 'text/plain', ...more }).end(text);
    if (headers['x-forwarded-for'] !== undefined) return answer(403, '');
    if (url === session) {
      if (method !== 'PUT') return answer(405, '');
      const ttl = String(headers['x-aws-ec2-metadata-token-ttl-seconds'] ?? '');
      if (!(Number(ttl) >= 1 && Number(ttl) <= 21_600)) return answer(400, '');
      const token = randomBytes(40).toString('base64');
      tokens.add(token);
      identities.secrets.push(token);
      return answer(200, token, { 'x-aws-ec2-metadata-token-ttl-seconds': ttl });
    }
    if (method !== 'GET') return answer(405, '');
    const shown = headers['x-aws-ec2-metadata-token'];
    if (shown === undefined) imds.askedByVersion1.push(url);
    if (!tokens.has(String(shown ?? ''))) return answer(401, '');
    if (url.startsWith(identity)) {
      const name = url.slice(identity.length) as keyof ImdsInstance['documents'];
      const text = imds.instance?.documents[name];
      return text === undefined ? answer(404, '') : answer(200, text);
    }
    if (url === '/latest/meta-data/placement/region')
      return imds.region === undefined ? answer(404, '') : answer(200, imds.region);
    if (imds.withoutRole) return answer(404, '');
    if (url === list) return answer(200, role);
    if (url !== `${list}${role}`) return answer(404, '');
    return answer(200, keysOf(identities, arn));
  });
  const imds: Imds = {
    ...{ url: server.url, asked: [], askedByVersion1: [], withoutRole: false },
    ...{ instance, region, fault: undefined },
    close: () => server.close(),
  };
  return imds;
}

function keysOf(identities: AwsIdentities, arn: string): string {
  const keys = identities.session(arn);
  return JSON.stringify({
    Code: 'Success',
    LastUpdated: new Date(identities.now()).toISOString(),
    Type: 'AWS-HMAC',
    AccessKeyId: keys.accessKeyId,
    SecretAccessKey: keys.secretAccessKey,
    Token: keys.sessionToken,
    Expiration: new Date(keys.expiresAt).toISOString(),
  });
}

/** @returns false where this request is answered as usual */
function misbehaves(fault: ImdsFault, { url }: IncomingMessage, response: ServerResponse): boolean {
  const isSession = url === session;
  switch (fault) {
    case 'is off':
      response.writeHead(403).end();
      return true;
    case 'hangs':
      return true;
    case 'hangs later':
      return !isSession;
    case 'fails':
      response.writeHead(500).end();
      return true;
    case 'is a portal':
      response.writeHead(200, { 'content-type': 'text/html' });
      response.end(isSession ? 'session-of-nobody' : '<html><a href="/login">Log in</a></html>');
      return true;
    case 'forgets sessions':
      if (!isSession) response.writeHead(401).end();
      return !isSession;
  }
}
