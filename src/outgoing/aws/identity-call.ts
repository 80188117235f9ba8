import type { ECRClientConfig } from '@aws-sdk/client-ecr';
import type { HttpCaller } from '../http-caller.js';
import type { ProgramTurns } from '../program-turns.js';
import type { SdkRequestHandler } from './sdk-requests.js';

export type Sdk = typeof import('@aws-sdk/credential-providers');

/** Access keys of AWS, of a user or of a role's session. */
export type AwsIdentity = Awaited<ReturnType<ReturnType<Sdk['fromEnv']>>>;

/** What the places of AWS credentials are asked with. */
export interface AwsIdentityCall {
  /** Of the SDK's inner clients. */
  readonly clientConfig: {
    readonly requestHandler: SdkRequestHandler;
    readonly maxAttempts: number;
    readonly retryMode: string;
  };
  readonly logger: Required<NonNullable<ECRClientConfig['logger']>>;
  /** Where STS is asked. */
  readonly region: string;
  /** For metadata servers: without a proxy, and soon given up. */
  readonly direct: HttpCaller;
  /** Of a profile's `credential_process`. */
  readonly turns: ProgramTurns;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: number;
}
