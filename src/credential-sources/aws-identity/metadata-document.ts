import type { CallOptions } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { NoIdentity } from '../../outgoing/aws/identity-document.js';
import {
  type AskMetadata,
  metadataIsDisabled,
  NoMetadata,
  openInstanceMetadata,
} from '../../outgoing/aws/instance-metadata.js';
import { readProfiles } from '../../outgoing/aws/shared-config.js';
import type { HttpCaller } from '../../outgoing/http-caller.js';

/** The form that is signed by RSA-SHA256; beside it there are older ones. */
const path = '/latest/dynamic/instance-identity/rsa2048';

/** Bytes. Documents have a thousand, and some hundred more where there are marketplace products. */
const maxSize = 6_000;

const advice: Readonly<Record<NoMetadata['why'], string>> = {
  endpoint: 'it is named by AWS_EC2_METADATA_SERVICE_ENDPOINT or ec2_metadata_service_endpoint',
  silent:
    'is this an EC2 instance? From within a container it answers only where the hop limit of the instance is 2 or more ' +
    '(`aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2`)',
  refused:
    'is it switched off for this instance (`aws ec2 modify-instance-metadata-options --http-endpoint enabled`)?',
};

/**
 * The signed identity document of the instance we run on (Amazon EC2 user guide, "Instance identity documents").
 *
 * @param direct without a proxy, which would be asked for its own identity
 * @returns PKCS #7, as BER
 * @throws RegistryError UNAVAILABLE, with what to do; the signal's reason
 */
export async function fetchDocument(direct: HttpCaller, { signal }: CallOptions): Promise<Buffer> {
  if (metadataIsDisabled(process.env)) throw failed('AWS_EC2_METADATA_DISABLED forbids to ask it');
  const { status, text } = await answerOf(direct, signal);
  if (status === 404)
    throw failed('it has no rsa2048 document: is this another cloud, or a stand-in for EC2?');
  if (status !== 200) throw failed(`it answers ${status} where it gives the document`);
  const encoded = text.replace(/\s+/g, '');
  const document = Buffer.from(encoded, 'base64');
  // A SEQUENCE: whatever else answers there must not end up in a login.
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded) || document[0] !== 0x30 || document.length > maxSize) {
    throw failed('what it gives is no signed document');
  }
  return document;
}

async function answerOf(direct: HttpCaller, signal: AbortSignal): ReturnType<AskMetadata> {
  try {
    const profile = (await readProfiles()).get(process.env.AWS_PROFILE || 'default');
    const ask = await openInstanceMetadata(profile, { direct, signal });
    return await ask(path);
  } catch (error) {
    if (error instanceof NoMetadata) throw failed(`${error.message}; ${advice[error.why]}`);
    if (error instanceof NoIdentity) throw failed(error.message);
    throw error;
  }
}

function failed(what: string): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason: `the instance metadata: ${what}` });
}
