import {
  callerIdentityCall,
  longestStsLife,
  serverIdHeader,
  serverIdPattern,
} from '../../protocol/sts-proof.js';
import { refused } from '../machine/shown-proof.js';

/** A request to STS that somebody else signed, as far as its form goes. Nothing of it is verified. */
export interface PresignedRequest {
  /** Whom it says that it is for. It is signed along. */
  readonly audience: string;
  readonly region: string;
  /** `X-Amz-Date` and `X-Amz-Expires`: milliseconds since the epoch, and milliseconds. */
  readonly date: number;
  readonly life: number;
  readonly signature: string;
  /** Of its query, by name, not coded. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** Characters: a proof without an envelope is not bounded by that. */
const maxLength = 12_000;
const credential =
  /^[A-Z0-9]{16,128}\/(?<day>\d{8})\/(?<region>[a-z]{1,16}(?:-[a-z]{1,16}){1,4}-\d{1,3})\/sts\/aws4_request$/;

/**
 * All parameters there may be (AWS IAM user guide, "Elements of an AWS API request signature"), with what each must be.
 * Each stands once, and all but the token must. Tokens are base64 of some kind.
 */
const forms: Readonly<Record<string, RegExp>> = {
  Action: exactly(callerIdentityCall.Action),
  Version: exactly(callerIdentityCall.Version),
  'X-Amz-Algorithm': exactly('AWS4-HMAC-SHA256'),
  'X-Amz-Credential': credential,
  'X-Amz-Date': /^\d{8}T\d{6}Z$/,
  'X-Amz-Expires': /^[1-9]\d{0,5}$/,
  'X-Amz-Security-Token': /^[\w+/=.~:-]{1,8192}$/,
  'X-Amz-SignedHeaders': exactly(`host;${serverIdHeader}`),
  'X-Amz-Signature': /^[0-9a-f]{64}$/,
};
const optional = 'X-Amz-Security-Token';
const names = Object.keys(forms);

/**
 * Reads `AUDIENCE?QUERY` strictly: what two readers could take differently is refused (CVE-2022-2385), and of what the
 * client wrote only values of known forms are kept, to build a request of our own from (CVE-2020-16250).
 *
 * @throws RegistryError UNAUTHORIZED. The reason quotes nothing of it
 */
export function parsePresignedRequest(proof: string): PresignedRequest {
  const mark = proof.indexOf('?');
  const audience = proof.slice(0, Math.max(mark, 0));
  if (proof.length > maxLength || mark < 0 || !serverIdPattern.test(audience)) {
    throw refused('it is no presigned request to STS: expected AUDIENCE?Action=GetCallerIdentity&…');
  }
  const parameters = parseQuery(proof.slice(mark + 1));
  const { day, region = '' } = credential.exec(parameters['X-Amz-Credential'] ?? '')?.groups ?? {};
  const written = parameters['X-Amz-Date'] ?? '';
  const date = parseDate(written);
  if (date === undefined || day !== written.slice(0, 8)) {
    throw refused('its X-Amz-Date is no time, or another day than that of X-Amz-Credential');
  }
  const seconds = Number(parameters['X-Amz-Expires']);
  if (seconds > longestStsLife) throw refused(`its X-Amz-Expires is over ${longestStsLife} seconds`);
  const signature = parameters['X-Amz-Signature'] ?? '';
  return { audience, region, date, life: seconds * 1000, signature, parameters };
}

/** @returns the parameters in our own order, whatever theirs was */
function parseQuery(query: string): Readonly<Record<string, string>> {
  const found = new Map<string, string>();
  for (const part of query.split('&')) {
    const equals = part.indexOf('=');
    const written = part.slice(0, Math.max(equals, 0));
    const name = names.find((one) => one.toLowerCase() === written.toLowerCase());
    if (name === undefined) throw refused(`it has a parameter that is none of ${names.join(', ')}`);
    if (found.has(name)) throw refused(`its parameter ${name} stands there twice`);
    if (name !== written) throw refused(`its parameter ${name} is not written as that`);
    found.set(name, decode(name, part.slice(equals + 1)));
  }
  const missing = names.find((name) => name !== optional && !found.has(name));
  if (missing !== undefined) throw refused(`its parameter ${missing} is missing`);
  return Object.fromEntries(names.flatMap((name) => pairOf(name, found.get(name))));
}

function pairOf(name: string, value: string | undefined): readonly (readonly [string, string])[] {
  return value === undefined ? [] : [[name, value]];
}

function decode(name: string, text: string): string {
  // To forms a plus is a space, to RFC 3986 it is itself.
  const value = text.includes('+') ? undefined : percentDecoded(text);
  if (value === undefined) throw refused(`its parameter ${name} is not coded as in a URL`);
  if (forms[name]?.test(value) !== true) throw refused(`its parameter ${name} is not what it must be`);
  return value;
}

function percentDecoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** ISO 8601, basic format. @returns undefined for the 31st of February */
function parseDate(text: string): number | undefined {
  const iso = text.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6.000Z');
  const time = Date.parse(iso);
  return Number.isNaN(time) || new Date(time).toISOString() !== iso ? undefined : time;
}

function exactly(text: string): RegExp {
  return new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`);
}
