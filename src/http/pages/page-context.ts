import type { ServedHost, ServedHosts } from '../../routing/served-host.js';
import type { SignInService } from '../../sign-in/sign-in-service.js';
import type { Exchange } from '../exchange.js';
import { PageCookies } from './cookies.js';
import type { PageRecord } from './page-record.js';

/** What pages need of the sign-in. */
export type SignIn = Pick<SignInService, keyof SignInService>;

/** One page request, and where our pages are. */
export class PageContext {
  readonly exchange: Exchange;
  readonly record: PageRecord;
  /** That of the external URL: people sign in there, whichever host they came by. */
  readonly home: ServedHost;
  /** `https://docker.example.com`. */
  readonly origin: string;
  readonly cookies: PageCookies;
  readonly #hosts: ServedHosts;

  constructor(exchange: Exchange, hosts: ServedHosts, record: PageRecord) {
    this.exchange = exchange;
    this.record = record;
    this.#hosts = hosts;
    this.home = hosts.find(undefined);
    const { origin, protocol } = new URL(this.home.realm);
    this.origin = origin;
    this.cookies = new PageCookies(protocol === 'https:', exchange.request.headers.cookie);
  }

  /** The host that was asked. One that we do not know counts as home: whoever rewrote it may do so each time. */
  get host(): string {
    return this.exchange.host.service;
  }

  get isAtHome(): boolean {
    return this.host === this.home.service;
  }

  /** The other hosts we serve, as clients name them. */
  get otherHosts(): readonly string[] {
    return this.#hosts.services.filter((service) => service !== this.host);
  }

  /** False for a HEAD: what is shown once was not shown then. */
  get showsBody(): boolean {
    return this.exchange.request.method !== 'HEAD';
  }
}
