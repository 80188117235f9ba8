import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate as AWS has one for each region, with its key: files. */
export interface DocumentSigner {
  readonly certificate: string;
  readonly key: string;
}

/** How a document is signed otherwise than AWS does. */
export interface SigningFaults {
  readonly digest?: 'sha1' | 'sha512';
  /** Embeds the signer's certificate. */
  readonly embedded?: boolean;
  /** Signs as well. */
  readonly second?: DocumentSigner;
  readonly withoutAttributes?: boolean;
}

/** Signs identity documents for some regions, by openssl and in the form of AWS: BER in chunks, nothing embedded. */
export interface AwsDocuments {
  /** For `certificates`: a file a region. */
  readonly directory: string;
  signer(region: string): DocumentSigner;
  /**
   * Base64 in lines, as the metadata service gives it.
   *
   * @param content a text is signed as it is
   */
  sign(content: object | string, by?: DocumentSigner, faults?: SigningFaults): string;
  /** A signer that nobody pinned. @param o milliseconds since the epoch, and bits */
  stranger(name: string, o?: { readonly notAfter?: number; readonly bits?: number }): DocumentSigner;
  close(): void;
}

/** All of AWS's certificates have this one. */
const subject = '/C=US/ST=Washington State/L=Seattle/O=Amazon Web Services LLC';
const year = 365 * 24 * 3_600_000;

/** What AWS says of an instance; fields are changed by tests. */
export const document = {
  accountId: '123456789012',
  architecture: 'x86_64',
  availabilityZone: 'eu-west-1b',
  billingProducts: null,
  devpayProductCodes: null,
  marketplaceProductCodes: null,
  imageId: 'ami-0123456789abcdef0',
  instanceId: 'i-0a1b2c3d4e5f60718',
  instanceType: 'm6i.large',
  kernelId: null,
  pendingTime: '2026-01-01T00:00:00Z',
  privateIp: '10.0.0.209',
  ramdiskId: null,
  region: 'eu-west-1',
  version: '2017-09-30',
} as const;

/** What stays after `close` is nothing. */
export function startAwsDocuments(regions: readonly string[] = ['eu-west-1', 'us-east-1']): AwsDocuments {
  const all = mkdtempSync(join(tmpdir(), 'aws-documents-'));
  const directory = mkdtempSync(join(all, 'certificates-'));
  const keys = mkdtempSync(join(all, 'keys-'));
  const make = (certificate: string, name: string, notAfter = Date.now() + year, bits = 2048) => {
    const key = join(keys, `${name}.key`);
    const days = String(Math.ceil((notAfter - Date.now()) / 86_400_000));
    const request = ['req', '-x509', '-nodes', '-newkey', `rsa:${bits}`, '-keyout', key, '-out', certificate];
    openssl([...request, '-days', days, '-subj', subject]);
    return { certificate, key };
  };
  const signers = new Map(regions.map((region) => [region, make(join(directory, `${region}.pem`), region)]));
  const signer = (region: string) => {
    const found = signers.get(region);
    assert.ok(found, `no signer for ${region}`);
    return found;
  };
  return {
    directory,
    signer,
    stranger: (name, { notAfter, bits } = {}) => make(join(keys, `${name}.pem`), name, notAfter, bits),
    sign: (content, by = signer(regionOf(content)), faults = {}) => {
      const text = typeof content === 'string' ? content : JSON.stringify(content, undefined, 2);
      return lines(signed(text, by, faults));
    },
    close: () => rmSync(all, { recursive: true, force: true }),
  };
}

/** Base64, 76 characters a line, the last one with a line break as well. */
export function lines(der: Buffer): string {
  return der.toString('base64').replace(/.{1,76}/g, '$&\n');
}

/** `openssl cms` writes what `openssl smime` does, and can leave attributes out. */
function signed(content: string, by: DocumentSigner, faults: SigningFaults): Buffer {
  const { digest = 'sha256', embedded = false, second, withoutAttributes = false } = faults;
  return openssl(
    [
      ...['cms', '-sign', '-binary', '-nodetach', '-stream', '-nosmimecap', '-outform', 'DER', '-md', digest],
      ...(embedded ? [] : ['-nocerts']),
      ...(withoutAttributes ? ['-noattr'] : []),
      ...['-signer', by.certificate, '-inkey', by.key],
      ...(second === undefined ? [] : ['-signer', second.certificate, '-inkey', second.key]),
    ],
    content,
  );
}

function regionOf(content: object | string): string {
  return String((content as { region?: unknown }).region ?? document.region);
}

function openssl(args: readonly string[], input = ''): Buffer {
  const { status, stdout, stderr } = spawnSync('openssl', args, { input });
  assert.equal(status, 0, `openssl ${args[0]}: ${stderr}`);
  return stdout;
}
