import type { X509Certificate } from 'node:crypto';
import type { CallOptions } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { refused } from '../machine/shown-proof.js';
import type { Authorities } from '../mtls/authorities.js';
import { type Fetched, type IssuerCertificates, issuerUrls } from './issuer-certificates.js';
import { authorityFault, commonNameOf } from './signing-certificate.js';

/** Between a document's certificate and a root: Azure has one or two. */
const maxIntermediates = 3;

export interface ChainSources {
  readonly roots: Authorities;
  /** Those that need not be fetched. */
  readonly intermediates: Authorities;
  readonly fetched: IssuerCertificates;
}

export interface ChainCall extends CallOptions {
  /** What came with the document: anybody may have put them there. */
  readonly embedded: readonly X509Certificate[];
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Of the client: turns to fetch something are shared among these. */
  readonly network: string;
}

/** One step of the way: whose issuer is looked for, and what was found out about those that it is not. */
interface Step extends ChainCall {
  readonly certificate: X509Certificate;
  /** How many authorities stand between the signer and the issuer. */
  readonly below: number;
  readonly faults: string[];
  /** On the whole way. */
  readonly fetched: Fetched[];
}

/** Finds the way from a certificate to a root (RFC 5280 section 6.1), with each signature on it. */
export class CertificateChain {
  readonly #sources: ChainSources;

  constructor(sources: ChainSources) {
    this.#sources = sources;
  }

  /**
   * Whose certificate it is was looked at before; nothing is fetched for one that is not for a metadata service.
   *
   * @throws RegistryError UNAUTHORIZED where it leads to no root; UNAVAILABLE where that cannot be found out now
   */
  async verify(signer: X509Certificate, call: ChainCall): Promise<void> {
    const fetched: Fetched[] = [];
    let certificate = signer;
    for (let below = 0; ; below++) {
      const roots = this.#sources.roots.issuersOf(certificate);
      if (roots.length > 0) {
        requireOne(roots, below, call.now);
        break;
      }
      if (below === maxIntermediates) {
        throw refused(`its certificate leads to no root by ${maxIntermediates} authorities`);
      }
      const step = { ...call, certificate, below, faults: [], fetched };
      certificate = this.#known(step) ?? (await this.#fetch(step));
    }
    // Before that anybody can name what they like, and what is kept has a bound.
    for (const one of fetched) this.#sources.fetched.keep(one);
  }

  #known(step: Step): X509Certificate | undefined {
    const { certificate, embedded } = step;
    const given = this.#sources.intermediates.issuersOf(certificate);
    return [...embedded, ...given].find((one) => isIssuer(one, step));
  }

  async #fetch(step: Step): Promise<X509Certificate> {
    const { certificate, signal, network, faults } = step;
    const issuer = commonNameOf(certificate.issuer);
    const urls = urlsOf(certificate);
    if (urls.length === 0) {
      throw refused(
        faults[0] ??
          `its authority ${issuer} is not known, and is not said to be at www.microsoft.com; if it is Microsoft's, name it in \`intermediates\``,
      );
    }
    let failure: unknown;
    for (const url of urls) {
      try {
        const found = await this.#sources.fetched.at(url, { signal, network });
        if (!isIssuer(found.certificate, step)) continue;
        step.fetched.push(found);
        return found.certificate;
      } catch (error) {
        signal.throwIfAborted();
        failure ??= error;
      }
    }
    if (failure instanceof RegistryError) throw failure.because(`the certificate of ${issuer} cannot be had`);
    if (failure !== undefined) throw failure;
    throw refused(faults[0] ?? `it is not by the authority ${issuer} that it names`);
  }
}

/** Verifies with its key only where nothing speaks against it: anybody can make a key that takes long. */
function isIssuer(issuer: X509Certificate, { certificate, below, now, faults }: Step): boolean {
  // One that signed itself is no way to a root: the same key may have been certified by one as well.
  if (issuer.checkIssued(issuer) || !certificate.checkIssued(issuer)) return false;
  const fault = authorityFault(issuer, { below, isRoot: false, now });
  if (fault === undefined) return hasSigned(issuer, certificate);
  faults.push(`the certificate of its authority ${commonNameOf(issuer.subject)}: ${fault}`);
  return false;
}

function requireOne(roots: readonly X509Certificate[], below: number, now: number): void {
  const faults = roots.map((root) => authorityFault(root, { below, isRoot: true, now }));
  if (faults.includes(undefined)) return;
  throw refused(`the root that its certificate leads to cannot be used: ${faults[0]}`);
}

function urlsOf(certificate: X509Certificate): readonly URL[] {
  try {
    return issuerUrls(certificate);
  } catch {
    throw refused('a certificate cannot be understood');
  }
}

function hasSigned(issuer: X509Certificate, certificate: X509Certificate): boolean {
  try {
    return certificate.verify(issuer.publicKey);
  } catch {
    return false; // a signature of another kind than the key
  }
}
