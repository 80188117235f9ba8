import { randomBytes } from 'node:crypto';
import { startLoopbackServer } from '../../../src/testing/loopback-server.js';
import type { AwsIdentities } from './aws-identities.js';

export interface Imds {
  /** For AWS_EC2_METADATA_SERVICE_ENDPOINT. */
  readonly url: string;
  /** Methods and paths, in order. */
  readonly asked: string[];
  /** The instance has no role any more: 404. */
  withoutRole: boolean;
  close(): Promise<void>;
}

const list = '/latest/meta-data/iam/security-credentials/';
const role = 'node-role';

/** The metadata server of an EC2 instance with IMDSv2 only: nothing without a token of its own. */
export async function startImds(identities: AwsIdentities, arn: string): Promise<Imds> {
  const tokens = new Set<string>();
  const asked: string[] = [];
  const server = await startLoopbackServer((request, response) => {
    const { method = '', url = '', headers } = request;
    asked.push(`${method} ${url}`);
    const answer = (status: number, text: string, more: Record<string, string> = {}) =>
      response.writeHead(status, { 'content-type': 'text/plain', ...more }).end(text);
    if (headers['x-forwarded-for'] !== undefined) return answer(403, '');
    if (method === 'PUT' && url === '/latest/api/token') {
      const ttl = String(headers['x-aws-ec2-metadata-token-ttl-seconds'] ?? '');
      if (!(Number(ttl) >= 1 && Number(ttl) <= 21_600)) return answer(400, '');
      const token = randomBytes(40).toString('base64');
      tokens.add(token);
      identities.secrets.push(token);
      return answer(200, token, { 'x-aws-ec2-metadata-token-ttl-seconds': ttl });
    }
    if (method !== 'GET') return answer(405, '');
    if (!tokens.has(String(headers['x-aws-ec2-metadata-token'] ?? ''))) return answer(401, '');
    if (imds.withoutRole) return answer(404, '');
    if (url === list) return answer(200, role);
    if (url !== `${list}${role}`) return answer(404, '');
    const keys = identities.session(arn);
    const document = {
      Code: 'Success',
      LastUpdated: new Date(identities.now()).toISOString(),
      Type: 'AWS-HMAC',
      AccessKeyId: keys.accessKeyId,
      SecretAccessKey: keys.secretAccessKey,
      Token: keys.sessionToken,
      Expiration: new Date(keys.expiresAt).toISOString(),
    };
    return answer(200, JSON.stringify(document));
  });
  const imds: Imds = { url: server.url, asked, withoutRole: false, close: () => server.close() };
  return imds;
}
