import { uriComponent } from './uri-component.js';

// How a machine shows who it is by a request to AWS STS that it signed and never sent: what a source writes and a
// verifier reads.

/** Signed along: whom the request is for. Whoever else gets hold of it cannot show it to another server. */
export const serverIdHeader = 'x-docker-registry-proxy-server-id';

/** The only request that counts (AWS STS API reference, "GetCallerIdentity"). */
export const callerIdentityCall = { Action: 'GetCallerIdentity', Version: '2011-06-15' } as const;

/** Seconds. AWS takes it for 15 minutes after its date, whatever it says itself. */
export const longestStsLife = 900;

/** What can stand in a header and before the question mark of a proof. */
export const serverIdPattern = /^[\x21-\x3e\x40-\x7e]{1,255}$/;

/** Parameters by name as a query, coded as signatures have them. */
export function stsQuery(parameters: Readonly<Record<string, string>>): string {
  return Object.entries(parameters)
    .map(([name, value]) => `${uriComponent(name)}=${uriComponent(value)}`)
    .join('&');
}

/**
 * `AUDIENCE?QUERY`, for an envelope. Only what cannot be known otherwise: method, path, headers and host are always the
 * same, and the region stands in `X-Amz-Credential`.
 *
 * @param parameters of a presigned request with `serverIdHeader: audience`
 */
export function stsProof(audience: string, parameters: Readonly<Record<string, string>>): string {
  return `${audience}?${stsQuery(parameters)}`;
}
