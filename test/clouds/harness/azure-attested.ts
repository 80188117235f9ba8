import { randomUUID } from 'node:crypto';
import { type CertificateOptions, type Issued, issueCertificate, signMessage } from './azure-pki.js';
import type { World } from './world.js';

/** Azure's authorities, and where they are published. */
export interface AzureAuthorities {
  /** Stands for DigiCert's: for `roots` of the verifier. */
  readonly root: Issued;
  /** A root of Microsoft's own, as that one certified it. */
  readonly crossSigned: Issued;
  /** Whose certificates metadata services have. */
  readonly issuing: Issued;
  /** What is published at `www.microsoft.com`, by path. A test changes it. */
  readonly published: Map<string, Buffer>;
  /** A certificate of a metadata service, as they have it, but for what a test changes. */
  certificate(more?: Partial<CertificateOptions>): Promise<Issued>;
}

export const publishedAt = (name: string) => `/pkiops/certs/${encodeURIComponent(name)}.crt`;
export const urlOf = (name: string) => `http://www.microsoft.com${publishedAt(name)}`;

/**
 * Their names are those of today: a metadata service's certificate leads to DigiCert by two authorities, neither of which
 * comes with the document.
 */
export async function startAzureAuthorities(world: World): Promise<AzureAuthorities> {
  const root = await issueCertificate({
    subject: 'CN=Test Global Root G2, O=Test, C=US',
    ca: true,
    extendedKeyUsage: [],
  });
  const crossSigned = await issueCertificate({
    subject: 'CN=Test TLS RSA Root G2, O=Test, C=US',
    ...{ by: root, ca: true, pathLength: 1, aia: ['http://cacerts.digicert.com/TestGlobalRootG2.crt'] },
  });
  const issuing = await issueCertificate({
    subject: 'CN=Test TLS G2 RSA CA OCSP 02, O=Test, C=US',
    ...{ by: crossSigned, ca: true, pathLength: 0, aia: [urlOf('Test TLS RSA Root G2 - xsign')] },
  });
  const published = new Map([
    [publishedAt('Test TLS RSA Root G2 - xsign'), crossSigned.der],
    [publishedAt('Test TLS G2 RSA CA OCSP 02'), issuing.der],
  ]);
  world.host('www.microsoft.com', ({ url, request, response, text }) => {
    const found = request.method === 'GET' ? published.get(url.pathname) : undefined;
    if (found === undefined) return text(404, 'not found');
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': found.length });
    response.end(found);
  });
  const certificate = (more: Partial<CertificateOptions> = {}) =>
    issueCertificate({
      subject: 'CN=metadata.azure.com, O=Test, C=US',
      by: issuing,
      dnsNames: ['metadata.azure.com', 'westeurope.metadata.azure.com'],
      aia: [urlOf('Test TLS G2 RSA CA OCSP 02')],
      ...more,
    });
  return { root, crossSigned, issuing, published, certificate };
}

/** A virtual machine, and what its metadata service says of it. */
export interface AzureMachine {
  readonly subscriptionId: string;
  readonly vmId: string;
  /** Every document it gave, as text: none may be seen where it was not meant for. */
  readonly given: string[];
  /** What it signs for a nonce, but for what a test changes. */
  content(nonce: string, more?: Readonly<Record<string, unknown>>): Buffer;
  /** PKCS#7. */
  document(nonce: string): Buffer;
}

export interface AzureMachineOptions {
  readonly subscriptionId?: string;
  readonly vmId?: string;
  readonly signer: Issued;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

const sixHours = 6 * 3_600_000;

export function createAzureMachine({
  signer,
  now = Date.now,
  ...options
}: AzureMachineOptions): AzureMachine {
  const { subscriptionId = randomUUID(), vmId = randomUUID() } = options;
  const given: string[] = [];
  const content: AzureMachine['content'] = (nonce, more) =>
    Buffer.from(
      JSON.stringify({
        licenseType: '',
        nonce,
        plan: { name: '', product: '', publisher: '' },
        sku: '22_04-lts-gen2',
        subscriptionId,
        timeStamp: { createdOn: azureTime(now()), expiresOn: azureTime(now() + sixHours) },
        vmId,
        ...more,
      }),
    );
  const document = (nonce: string) => {
    const message = signMessage({ content: content(nonce), signer });
    given.push(message.toString('base64'));
    return message;
  };
  return { subscriptionId, vmId, given, content, document };
}

/** `04/19/22 01:27:21 -0000` @param time milliseconds since the epoch */
export function azureTime(time: number): string {
  const [year = '', month, day, clock] = new Date(time).toISOString().split(/[-T.]/);
  return `${month}/${day}/${year.slice(2)} ${clock} -0000`;
}
