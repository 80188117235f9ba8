import 'reflect-metadata';
import type { X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { LRUCache } from 'lru-cache';
import type { CallOptions, Clock } from '../../contracts/index.js';
import { FairTurns } from '../../decorators/fair-turns.js';
import { SingleFlight } from '../../decorators/single-flight.js';
import { RegistryError } from '../../errors.js';
import type { HttpCaller } from '../../outgoing/http-caller.js';
import { parse } from '../mtls/authorities.js';
import { decode } from '../mtls/extensions.js';
import { isValidAt } from '../mtls/validity.js';

/** Where Microsoft publishes its authorities. A certificate may name any URL, also one within our network. */
const host = 'www.microsoft.com';
const path = /^\/pki(?:ops)?\/[\w%.()/-]{1,200}$/;

/** Bytes: they have two thousand. */
const maxSize = 16 * 1024;
/** Milliseconds, as all below: after these it is asked for again, for an authority may have got another key. */
const freshKept = 24 * 3_600_000;
/** Between two questions for the same one, where the first had no answer. */
const pause = 30_000;
const longest = 60_000;
/** Azure has some ten at a time. */
const maxKept = 64;
/** What nobody knows yet to be good for anything, and how long it serves: who logs in at the same time asks once. */
const maxNew = 16;
const freshNew = 60_000;
const maxFailures = 256;
/** Anybody can make up certificates that name a place, and only who published them knows that nothing is there. */
const atOnce = 16;
const waiting = 1000;

/** What is at a place. */
export interface Fetched {
  readonly url: URL;
  readonly certificate: X509Certificate;
  /** When it was asked for; milliseconds since the epoch. */
  readonly since: number;
}

export interface FetchOptions extends CallOptions {
  /** Of the client: turns are shared among these. */
  readonly network: string;
}

/**
 * Where a certificate says that of its issuer is (RFC 5280 section 4.2.2.1), of these the URLs that may be asked. They say
 * http, and are asked by https: a certificate needs no secrecy, and an outage by somebody between is none less.
 *
 * @throws what the library throws for a certificate that it cannot read
 */
export function issuerUrls(certificate: X509Certificate): readonly URL[] {
  const extension = decode(certificate).getExtension(x509.AuthorityInfoAccessExtension);
  const named = (extension?.caIssuers ?? []).flatMap(({ type, value }) => (type === 'url' ? value : []));
  return named.flatMap((text) => allowed(text) ?? []).slice(0, 2);
}

function allowed(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isOurs =
    (url?.protocol === 'http:' || url?.protocol === 'https:') &&
    url.host === host &&
    `${url.username}${url.password}${url.search}${url.hash}` === '' &&
    path.test(url.pathname);
  return isOurs ? new URL(url.pathname, `https://${host}`) : undefined;
}

/** Certificates of authorities, fetched when they are needed and kept in memory. */
export class IssuerCertificates {
  readonly #caller: HttpCaller;
  readonly #clock: Clock;
  readonly #flights = new SingleFlight<Fetched>(longest);
  readonly #turns = new FairTurns({
    ...{ atOnce, waiting },
    refusal: () => new RegistryError('UNAVAILABLE', { reason: 'too many certificates wait to be fetched' }),
  });
  /** By their URLs. Who does not fit the certificate that named the URL is no failure of the URL's. */
  readonly #kept = new LRUCache<string, Fetched>({ max: maxKept });
  /** Apart from those: made-up places cannot push out what machines need. */
  readonly #new = new LRUCache<string, Fetched>({ max: maxNew });
  readonly #failures = new LRUCache<string, { readonly error: RegistryError; readonly since: number }>({
    max: maxFailures,
  });

  /** @param caller is closed by who opened it */
  constructor(caller: HttpCaller, clock: Clock) {
    this.#caller = caller;
    this.#clock = clock;
  }

  /**
   * @returns what is there: whether it issued anything is not looked at
   * @throws RegistryError UNAVAILABLE where there is no answer, or no certificate of an authority; where too many ask
   */
  async at(url: URL, o: FetchOptions): Promise<Fetched> {
    o.signal.throwIfAborted();
    try {
      const known = this.#remembered(url);
      if (known !== undefined) return known;
      // Each waits for a turn, and not for that of who came first for the same: that one may have a thousand before it.
      return await this.#turns.run(
        o.network,
        o,
        async () =>
          this.#remembered(url) ??
          (await this.#flights.run(url.href, o, (signal) => this.#fetch(url, signal))),
      );
    } catch (error) {
      o.signal.throwIfAborted();
      const kept = this.#kept.get(url.href);
      if (kept !== undefined && isValidAt(kept.certificate, this.#clock.now())) return kept;
      throw error;
    }
  }

  /** For all who come, where what was fetched turned out to be on the way from a document's signer to a root. */
  keep(fetched: Fetched): void {
    this.#new.delete(fetched.url.href);
    this.#kept.set(fetched.url.href, fetched);
  }

  close(): void {
    this.#flights.close();
  }

  /** @throws what went wrong a moment ago */
  #remembered({ href }: URL): Fetched | undefined {
    const now = this.#clock.now();
    const [kept, unproven, failure] = [this.#kept.get(href), this.#new.get(href), this.#failures.get(href)];
    if (kept !== undefined && isWithin(freshKept, kept.since, now)) return kept;
    if (unproven !== undefined && isWithin(freshNew, unproven.since, now)) return unproven;
    if (failure !== undefined && isWithin(pause, failure.since, now)) throw failure.error;
    return undefined;
  }

  async #fetch(url: URL, signal: AbortSignal): Promise<Fetched> {
    const since = this.#clock.now();
    try {
      const fetched = { url, certificate: await this.#ask(url, signal), since };
      this.#new.set(url.href, fetched);
      this.#failures.delete(url.href);
      return fetched;
    } catch (error) {
      // Who left says nothing about the server.
      if (error instanceof RegistryError && !signal.aborted) this.#failures.set(url.href, { error, since });
      throw error;
    }
  }

  async #ask(url: URL, signal: AbortSignal): Promise<X509Certificate> {
    const { status, bytes } = await this.#caller.call({ url, headers: { accept: '*/*' }, signal });
    if (status >= 300 && status < 400) throw unusable(url, `answered ${status}; redirects are not followed`);
    if (status !== 200) throw unusable(url, `answered ${status}`);
    const certificate = bytes.length > maxSize ? undefined : parse(bytes);
    if (certificate?.ca !== true) throw unusable(url, 'is not the certificate of an authority');
    return certificate;
  }
}

/** A clock that was set back tells nothing. */
function isWithin(span: number, since: number, now: number): boolean {
  return now >= since && now - since < span;
}

function unusable({ href }: URL, what: string): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason: `${href} ${what}` });
}
