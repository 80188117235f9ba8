import type { X509Certificate } from 'node:crypto';
import { resolve } from 'node:path';
import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, ClientCredentials, Clock, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { readableFile } from '../settings/file-path.js';
import { namePattern } from '../settings/name-pattern.js';
import { Authorities, parse } from './mtls/authorities.js';
import { attributesOf, type ClientNames, readClientNames } from './mtls/client-names.js';
import { endOf, isValidAt } from './mtls/validity.js';

/** Bytes of a name: as long as a SPIFFE ID may be. */
const maxName = 2048;

/** Where the name in rules is taken from: what it is called in messages, and all its values. */
const sources = {
  'subject-cn': ['common name', ({ commonNames }: ClientNames) => commonNames],
  'san-dns': ['DNS name', ({ dnsNames }: ClientNames) => dnsNames],
  'san-email': ['e-mail address', ({ emails }: ClientNames) => emails],
  'san-uri': ['URI', ({ uris }: ClientNames) => uris],
  spiffe: ['SPIFFE ID', ({ spiffeId }: ClientNames) => (spiffeId === undefined ? [] : [spiffeId])],
  subject: ['subject', ({ subject }: ClientNames) => (subject === '' ? [] : [subject])],
} as const;

const patterns = () => z.array(namePattern(), { error: 'expected a list of patterns' }).min(1).optional();

const config = z.strictObject({
  ca: readableFile().describe(
    'The authorities, as PEM. Each may sign clients by itself: an intermediate one that does goes in here too.',
  ),
  usernameFrom: z
    .enum(['subject-cn', 'san-dns', 'san-email', 'san-uri', 'spiffe', 'subject'])
    .default('subject-cn')
    .describe('What of the certificate is the name in rules. Whoever has two of it, or none, is refused.'),
  subjects: patterns().describe(
    'Only these subjects, as one line: `CN=node-*,O=Example`. `*` stands for any characters.',
  ),
  sans: patterns().describe(
    'Only certificates with one of these alternative names: `dns:*.nodes.example.com`, `email:*@example.com`, `uri:spiffe://example.com/*`.',
  ),
  kind: z
    .enum(['human', 'machine'])
    .default('machine')
    .describe('Whether people or machines are vouched for.'),
  username: z
    .string({ error: 'expected a user name' })
    .min(1, 'expected a user name')
    .max(255)
    .default('_mtls')
    .describe(
      'For clients that cannot do without a password: shown with this user name, any password means the certificate.',
    ),
});

export type MtlsSettings = z.output<typeof config>;

/** Lets in who has a certificate of one of our authorities (RFC 5280), by our own TLS or by a trusted proxy's. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'mtls',
  config,
  async open(settings, { id, baseDirectory, clock, log }): Promise<Verifier> {
    const authorities = await Authorities.read(resolve(baseDirectory, settings.ca.text));
    for (const { validFrom, validTo } of authorities.outside(clock.now())) {
      log.warn({ id, validFrom, validTo }, 'an authority of client certificates is not valid now');
    }
    return new MtlsVerifier(id, settings, authorities, clock);
  },
});

/** A certificate that is ours, with those of our authorities that signed it. */
interface Issued {
  readonly certificate: X509Certificate;
  readonly issuers: readonly X509Certificate[];
}

export class MtlsVerifier implements Verifier {
  readonly givesGroups = false;
  readonly #id: string;
  readonly #settings: Omit<MtlsSettings, 'ca'>;
  readonly #authorities: Authorities;
  readonly #clock: Clock;
  /** `recognises` and `verify` are asked one after the other; signatures are checked once. */
  readonly #known = new WeakMap<Uint8Array, { readonly issued: Issued | undefined }>();

  constructor(id: string, settings: Omit<MtlsSettings, 'ca'>, authorities: Authorities, clock: Clock) {
    this.#id = id;
    this.#settings = settings;
    this.#authorities = authorities;
    this.#clock = clock;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    o.signal.throwIfAborted();
    if (!this.#isAsked(credentials)) return undefined;
    const { peerCertificate } = credentials.connection;
    if (peerCertificate === undefined) throw this.#refused('no client certificate came with the connection');
    const issued = this.#issued(peerCertificate);
    return issued && this.#principal(issued);
  }

  recognises(credentials: ClientCredentials): boolean {
    if (!this.#isAsked(credentials)) return false;
    const { peerCertificate } = credentials.connection;
    return peerCertificate === undefined || this.#issued(peerCertificate) !== undefined;
  }

  async close(): Promise<void> {}

  /** A password or token beside the certificate is what the client wants to be judged by. */
  #isAsked({ shown, connection }: ClientCredentials): boolean {
    if (shown.kind === 'none') return connection.peerCertificate !== undefined;
    return shown.kind === 'password' && shown.username === this.#settings.username;
  }

  #issued(der: Uint8Array): Issued | undefined {
    const known = this.#known.get(der);
    if (known !== undefined) return known.issued;
    const certificate = parse(der);
    const issuers = certificate === undefined ? [] : this.#authorities.issuersOf(certificate);
    const issued = certificate === undefined || issuers.length === 0 ? undefined : { certificate, issuers };
    this.#known.set(der, { issued });
    return issued;
  }

  #principal({ certificate, issuers }: Issued): Principal {
    const now = this.#clock.now();
    if (!isValidAt(certificate, now)) {
      const { validFrom, validTo } = certificate;
      throw this.#refused(`the client certificate is valid from ${validFrom} to ${validTo}`);
    }
    const ends = issuers.filter((issuer) => isValidAt(issuer, now)).map(endOf);
    if (ends.length === 0) throw this.#refused('the authority of the client certificate is not valid now');
    const names = readClientNames(certificate);
    if (typeof names === 'string') throw this.#refused(`the client certificate cannot be used: ${names}`);
    this.#requireAllowed(names);
    return {
      verifier: this.#id,
      name: this.#nameOf(names),
      kind: this.#settings.kind,
      groups: [],
      attributes: attributesOf(names, certificate),
      expiresAt: Math.min(endOf(certificate), Math.max(...ends)),
    };
  }

  #requireAllowed(names: ClientNames): void {
    const { subjects, sans } = this.#settings;
    if (subjects?.some((pattern) => pattern.matches(names.subject)) === false) {
      throw this.#refused('the subject of the client certificate is not one that is allowed');
    }
    const others = [
      ...names.dnsNames.map((name) => `dns:${name}`),
      ...names.emails.map((name) => `email:${name}`),
      ...names.uris.map((name) => `uri:${name}`),
    ];
    if (sans?.some((pattern) => others.some((name) => pattern.matches(name))) === false) {
      throw this.#refused('no alternative name of the client certificate is one that is allowed');
    }
  }

  #nameOf(names: ClientNames): string {
    const [what, read] = sources[this.#settings.usernameFrom];
    const all = read(names);
    const [name] = all;
    if (name === undefined) throw this.#refused(`the client certificate has no ${what}`);
    if (all.length > 1) throw this.#refused(`the client certificate has more than one ${what}`);
    if (Buffer.byteLength(name) > maxName || /[\p{Cc}\p{Cs}]/u.test(name) || name.trim() === '') {
      throw this.#refused(`the ${what} of the client certificate cannot be a name`);
    }
    return name;
  }

  #refused(reason: string): RegistryError {
    return new RegistryError('UNAUTHORIZED', { reason });
  }
}
