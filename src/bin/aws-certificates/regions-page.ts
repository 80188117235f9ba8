import { X509Certificate } from 'node:crypto';

/** What a page that lists certificates by region says of the RSA-2048 ones. */
export interface RegionsPage {
  /** By region; several where one is about to follow the other. */
  readonly certificates: ReadonlyMap<string, readonly X509Certificate[]>;
  /** Regions of the page without one. */
  readonly without: readonly string[];
}

/** The page is not what it was when this was written; the message is for the user. */
export class RegionsPageError extends Error {
  override readonly name = 'RegionsPageError';
}

/** Bits. */
const minModulus = 2048;
const wanted = 'rsa-2048';

/**
 * What it repeats without a bound it cannot begin anew within, so that a page of any kind is read in time of its length.
 *
 * Both forms of the page have one section a region, with an anchor `REGION-cert`, and in it one tab for each kind of
 * certificate: in Markdown `## Name — REGION` and `#### [ RSA-2048 ]`, in HTML `<awsui-expandable-section id=…>` and
 * `<dt>RSA-2048</dt>`.
 */
const marks = new RegExp(
  [
    '(?<section>^## |<awsui-expandable-section\\b)',
    '\\b(?:name|id)="(?<region>[a-z]+(?:-[a-z]+)+-\\d+)-cert"',
    '(?:^#### \\[ *|<dt\\b[^<>]{0,200}>\\s{0,200})(?<kind>[\\w-]+)(?: *\\]|\\s*</dt>)',
    '(?<pem>-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\\s]+-----END CERTIFICATE-----)',
  ].join('|'),
  'gm',
);

/**
 * Reads the page "AWS public certificates for instance identity document signatures" of the EC2 user guide
 * (`regions-certs`), as Markdown or HTML, in any language.
 *
 * @throws RegionsPageError where it lists none, or something under RSA-2048 that is no such certificate
 */
export function readRegionsPage(text: string): RegionsPage {
  const certificates = new Map<string, X509Certificate[]>();
  const regions = new Set<string>();
  let region: string | undefined;
  let kind: string | undefined;
  for (const { groups = {} } of text.matchAll(marks)) {
    if (groups.section !== undefined) region = undefined;
    if (groups.section !== undefined || groups.region !== undefined) kind = undefined;
    if (groups.region !== undefined) {
      region = groups.region;
      regions.add(region);
    }
    kind = groups.kind?.toLowerCase() ?? kind;
    if (groups.pem === undefined || kind !== wanted) continue;
    if (region === undefined) throw new RegionsPageError('a certificate stands there under no region');
    const known = certificates.get(region) ?? [];
    certificates.set(region, [...known, parseCertificate(groups.pem, region)]);
  }
  if (certificates.size === 0) {
    throw new RegionsPageError('no certificate stands there under RSA-2048, in a section of a region');
  }
  return { certificates, without: [...regions].filter((one) => !certificates.has(one)) };
}

function parseCertificate(pem: string, region: string): X509Certificate {
  const certificate = x509From(pem);
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = certificate?.publicKey ?? {};
  if (certificate === undefined) throw new RegionsPageError(`the certificate of ${region} cannot be read`);
  if (type !== 'rsa' || (details?.modulusLength ?? 0) < minModulus) {
    throw new RegionsPageError(`the certificate of ${region} has no RSA key of ${minModulus} bits or more`);
  }
  return certificate;
}

function x509From(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(Buffer.from(pem.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64'));
  } catch {
    return undefined;
  }
}
