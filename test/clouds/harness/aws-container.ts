import { startLoopbackServer } from '../../../src/testing/loopback-server.js';
import type { AwsIdentities } from './aws-identities.js';

export interface AwsContainer {
  /** For AWS_CONTAINER_CREDENTIALS_FULL_URI. */
  readonly url: string;
  /** What the `Authorization` must be, as the file of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE says. */
  token: string;
  /** How often it gave credentials. */
  given: number;
  close(): Promise<void>;
}

/** The agent of EKS Pod Identity on a node. */
export async function startAwsContainer(identities: AwsIdentities, arn: string): Promise<AwsContainer> {
  const server = await startLoopbackServer((request, response) => {
    const json = (status: number, value: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (request.method !== 'GET' || request.url !== '/v1/credentials') return json(404, {});
    if (container.token === '' || request.headers.authorization !== container.token) {
      return json(401, { Code: 'AccessDeniedException', Message: 'the service account token is not valid' });
    }
    container.given++;
    const keys = identities.session(arn);
    return json(200, {
      AccessKeyId: keys.accessKeyId,
      SecretAccessKey: keys.secretAccessKey,
      Token: keys.sessionToken,
      AccountId: '123456789012',
      Expiration: new Date(keys.expiresAt).toISOString(),
    });
  });
  const close = () => server.close();
  const container: AwsContainer = { url: `${server.url}/v1/credentials`, token: '', given: 0, close };
  return container;
}
