import type { X509Certificate } from 'node:crypto';
import type { CallOptions, Clock } from '../../contracts/index.js';
import { azureNonces } from '../../protocol/azure-nonce.js';
import { readSignedData, type SignedData, verifiedContent } from '../cms/signed-data.js';
import { signerAmong } from '../cms/signer-of.js';
import { digestOf } from '../machine/first-use.js';
import { notListed, refused } from '../machine/shown-proof.js';
import { orRefused } from '../machine/signed-message.js';
import { parse } from '../mtls/authorities.js';
import type { CertificateChain } from './certificate-chain.js';
import { type DocumentContent, parseContent } from './document-content.js';
import type { ProvenMachine } from './proven-machine.js';
import type { AzureIdentitySettings } from './settings.js';
import { signerFault } from './signing-certificate.js';

/** Before the reason. */
const notOne = 'it is no attested document';

/** Of an envelope, and of who shows what Azure's service answers as it is. */
const encoded = /^[A-Za-z0-9+/_-]+={0,2}$/;

/** That of its signer, which is all that Azure sends, and as many as may stand between that and a root. */
const maxEmbedded = 4;

export interface DocumentCall extends CallOptions {
  /** Of the client. */
  readonly network: string;
}

/** A document that was verified, and is good now for one of our audiences. */
interface Judged {
  readonly content: DocumentContent;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

type DocumentSettings = Pick<AzureIdentitySettings, 'subscriptions' | 'audiences' | 'maxAge' | 'clockSkew'>;

/** Verifies attested documents: what Azure's metadata service signs for a virtual machine. */
export class AttestedDocuments {
  readonly #settings: DocumentSettings;
  readonly #chain: CertificateChain;
  readonly #clock: Clock;

  constructor(settings: DocumentSettings, chain: CertificateChain, clock: Clock) {
    this.#settings = settings;
    this.#chain = chain;
    this.#clock = clock;
  }

  /**
   * @param proof PKCS#7 in base64url, or in base64 as the metadata service gives it
   * @throws RegistryError UNAUTHORIZED; UNAVAILABLE where an authority's certificate cannot be had now
   */
  async verify(proof: string, o: DocumentCall): Promise<ProvenMachine> {
    o.signal.throwIfAborted();
    const { subscriptions } = this.#settings;
    if (subscriptions === undefined)
      throw refused('an attested document was shown, and no `subscriptions` are configured');
    const bytes = await this.#signedBytes(proof, o);
    const { content, expiresAt } = this.#judge(bytes);
    const { subscriptionId, vmId, sku, plan } = content;
    if (!subscriptions.includes(subscriptionId)) {
      throw notListed('the subscription', subscriptionId, 'subscriptions', `the virtual machine ${vmId}`);
    }
    return {
      name: `${subscriptionId}/${vmId}`,
      attributes: {
        ...{ subscriptionId, vmId },
        ...(sku !== '' && { sku }),
        ...(plan.name !== '' && { planName: plan.name }),
        ...(plan.product !== '' && { planProduct: plan.product }),
        ...(plan.publisher !== '' && { planPublisher: plan.publisher }),
      },
      expiresAt,
      // What is signed, and not what was shown: around it somebody could change bits until it were another proof.
      digest: digestOf(bytes.toString('latin1')),
    };
  }

  /** @returns the content, once it is certain that a metadata service of Azure signed it */
  async #signedBytes(proof: string, { signal, network }: DocumentCall): Promise<Buffer> {
    if (!encoded.test(proof)) throw refused('it is neither an attested document nor a token');
    const now = this.#clock.now();
    const signed = orRefused(notOne, () => readSignedData(Buffer.from(proof, 'base64')));
    if (signed.certificates.length > maxEmbedded)
      throw refused(`it has more than ${maxEmbedded} certificates in it`);
    const embedded = signed.certificates.flatMap((der) => parse(der) ?? []);
    const signer = signerOf(signed, embedded);
    const fault = signerFault(signer, now);
    if (fault !== undefined) throw refused(`the certificate of its signer cannot be used: ${fault}`);
    // Azure signs without attributes.
    const bytes = orRefused(notOne, () =>
      verifiedContent(signed, signer.publicKey, { signedAttributes: 'optional' }),
    );
    await this.#chain.verify(signer, { embedded, now, signal, network });
    return bytes;
  }

  #judge(bytes: Buffer): Judged {
    const content = parseContent(bytes);
    if (content === undefined) {
      throw refused(
        'what is signed is no attested document with vmId, subscriptionId, nonce and timeStamp, each once',
      );
    }
    const { audiences, maxAge, clockSkew } = this.#settings;
    const { createdOn, expiresOn, nonce, vmId, subscriptionId } = content;
    const who = `the document of the virtual machine ${vmId} of the subscription ${subscriptionId}`;
    const now = this.#clock.now();
    const expiresAt = Math.min(createdOn + maxAge, expiresOn);
    if (expiresAt + clockSkew <= now)
      throw refused(`${who} is too old: made ${new Date(createdOn).toISOString()}`);
    if (createdOn > now + clockSkew)
      throw refused(`${who} was made in the future: ${new Date(createdOn).toISOString()}`);
    const [from, to] = [now - maxAge - clockSkew, now + clockSkew];
    if (!audiences.some((audience) => azureNonces(audience, from, to).includes(nonce))) {
      throw refused(
        `${who} has another nonce: it was made for none of ${audiences.join(', ')}, or too long ago, or the machine's clock is wrong`,
      );
    }
    return { content, expiresAt };
  }
}

/**
 * The certificate that the signature says it is by. The first one, or any that has the right name, would be that of
 * somebody who signed nothing (threat 5).
 */
function signerOf(signed: SignedData, embedded: readonly X509Certificate[]): X509Certificate {
  const [signer, ...others] = signerAmong(signed, embedded);
  if (signer === undefined) throw refused('the certificate of its signer is not in it');
  if (others.length > 0) throw refused('it has several certificates of its signer');
  return signer;
}
