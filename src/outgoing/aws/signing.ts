import type { AwsIdentity } from './identity-call.js';
import { loadSigning } from './load-sdk.js';

/** A request to one of AWS's services, without a path: STS and EC2 have none. */
export interface AwsRequest {
  readonly method: 'GET' | 'POST';
  readonly host: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Names in lower case. `host` is added. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface SigningCall {
  readonly identity: AwsIdentity;
  readonly service: string;
  readonly region: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * The headers of a signed request (AWS IAM user guide, "AWS Signature Version 4 for API requests"), those given among
 * them.
 */
export async function signedHeaders(
  request: AwsRequest,
  call: SigningCall,
): Promise<Readonly<Record<string, string>>> {
  const { signer, prepared } = await prepare(request, call);
  const { headers } = await signer.sign(prepared, { signingDate: new Date(call.now) });
  return headers;
}

/**
 * The query of a presigned request: parameters by name, not coded. All headers are signed, and whoever sends the request
 * must send them.
 *
 * @param life seconds
 */
export async function presignedQuery(
  request: AwsRequest,
  { life, ...call }: SigningCall & { readonly life: number },
): Promise<Readonly<Record<string, string>>> {
  const { signer, prepared } = await prepare(request, call);
  const { query = {} } = await signer.presign(prepared, {
    signingDate: new Date(call.now),
    expiresIn: life,
    unhoistableHeaders: new Set(Object.keys(request.headers ?? {})),
  });
  return Object.fromEntries(Object.entries(query).map(([name, value]) => [name, String(value)]));
}

async function prepare(request: AwsRequest, { identity, service, region }: SigningCall) {
  const { SignatureV4, Sha256 } = await loadSigning();
  const signer = new SignatureV4({ credentials: identity, service, region, sha256: Sha256 });
  const { method, host, query = {}, headers = {}, body } = request;
  const prepared = {
    ...{ method, protocol: 'https:', hostname: host, path: '/', query: { ...query } },
    headers: { host, ...headers },
    ...(body !== undefined && { body }),
  };
  return { signer, prepared };
}
