import { type GceMetadata, startGceMetadata } from './gce-metadata.js';
import { type GoogleTokenEndpoint, startGoogleTokenEndpoint } from './google-token-endpoint.js';
import {
  type GoogleAccounts,
  googleAccounts,
  type ServiceAccount,
} from './google-token-endpoint-accounts.js';
import {
  type FederationProvider,
  type GoogleFederation,
  startGoogleFederation,
  subjectToken,
} from './google-token-endpoint-federation.js';
import type { World } from './world.js';

/** All of Google Cloud that gives credentials, with somebody of each kind in it. */
export interface GoogleCloud {
  readonly accounts: GoogleAccounts;
  readonly endpoint: GoogleTokenEndpoint;
  readonly federation: GoogleFederation;
  readonly metadata: GceMetadata;
  readonly robot: ServiceAccount;
  /** Who may be impersonated by the robot, by alice and by what is federated. */
  readonly target: ServiceAccount;
  readonly subjectToken: string;
  readonly provider: FederationProvider;
  /** The text of a file of `gcloud auth application-default login`. */
  readonly userFile: string;
  /** The text of one of workload identity federation; with `impersonate: true` of one that is the target's. */
  federationFile(more?: Readonly<Record<string, unknown>>): string;
  /** The text of one that impersonates, with another file in it. */
  impersonationFile(source: string): string;
  close(): Promise<void>;
}

const user = {
  email: 'alice@acme.example',
  clientId: '764086051850.apps.googleusercontent.com',
  clientSecret: 'GOCSPX-d-FL95Q19q7MQmFpd7hHD0Ty',
  refreshToken: '1//0gAliceRefreshTokenThatNobodyMayEverSee-L9Ir',
};

const audience =
  '//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/other-cloud';
export const awsAudience = audience.replace('other-cloud', 'aws');

export async function startGoogleCloud(world: World): Promise<GoogleCloud> {
  const accounts = googleAccounts();
  const endpoint = startGoogleTokenEndpoint(world, accounts);
  const federation = startGoogleFederation(world, accounts);
  const metadata = await startGceMetadata(accounts);
  const robot = accounts.createServiceAccount('robot');
  const target = accounts.createServiceAccount('target');
  const token = subjectToken();
  const subject = 'principal://acme/subject/workload';
  const type = 'urn:ietf:params:oauth:token-type:jwt';
  const provider = { audience, subjectTokenType: type, subjects: new Map([[token, subject]]) };
  const aws = 'urn:ietf:params:aws:token-type:aws4_request';
  endpoint.users = [user];
  federation.providers = [provider, { audience: awsAudience, subjectTokenType: aws, subjects: new Map() }];
  federation.awsKeys = [{ accessKeyId: 'AKIAGOOGLETEST', secretAccessKey: 'the-secret-key-of-an-instance' }];
  const callers = [robot.email, user.email, subject];
  federation.impersonations = new Set(callers.map((caller) => `${caller} -> ${target.email}`));
  const impersonation = `https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/${target.email}:generateAccessToken`;
  return {
    ...{ accounts, endpoint, federation, metadata, robot, target, provider },
    subjectToken: token,
    userFile: JSON.stringify({
      ...{ type: 'authorized_user', client_id: user.clientId },
      ...{ client_secret: user.clientSecret, refresh_token: user.refreshToken },
    }),
    federationFile: ({ impersonate, ...more } = {}) =>
      JSON.stringify({
        ...{ type: 'external_account', audience, subject_token_type: type },
        token_url: 'https://sts.googleapis.com/v1/token',
        credential_source: { file: 'subject-token' },
        ...more,
        ...(impersonate === true && { service_account_impersonation_url: impersonation }),
      }),
    impersonationFile: (source) =>
      JSON.stringify({
        ...{ type: 'impersonated_service_account', delegates: [] },
        service_account_impersonation_url: impersonation,
        source_credentials: JSON.parse(source),
      }),
    close: () => metadata.close(),
  };
}
