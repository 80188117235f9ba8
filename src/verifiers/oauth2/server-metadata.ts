import type { CallOptions, Clock, Closable } from '../../contracts/index.js';
import { SingleFlight } from '../../decorators/single-flight.js';
import { RegistryError } from '../../errors.js';
import type { HttpCaller } from '../../outgoing/http-caller.js';
import { isSecureUrl } from '../../settings/secure-url.js';
import type { Claims } from '../claims/claim-path.js';
import { getJson, type ServerAnswer, unusable } from './server-answer.js';

export type EndpointName = 'token_endpoint' | 'introspection_endpoint' | 'userinfo_endpoint';

/** Milliseconds, as all below: so long a document is used without asking again. */
const fresh = 10 * 60_000;
/** Between two questions while the server gives no new one; the last one is used meanwhile. */
const pause = 60_000;
/** For both documents together; each call has a limit of its own. */
const longest = 2 * 60_000;

interface Known {
  readonly document: Claims;
  readonly host: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
  readonly until: number;
}

/**
 * Where an authorization server has its endpoints, as its discovery document says (OpenID Connect Discovery 1.0
 * section 4, RFC 8414 section 3). Nothing is asked before the first login.
 */
export class ServerMetadata implements Closable {
  readonly #issuer: string;
  readonly #http: HttpCaller;
  readonly #clock: Clock;
  readonly #flights = new SingleFlight<Known>(longest);
  #known: Known | undefined;

  constructor(issuer: string, http: HttpCaller, clock: Clock) {
    this.#issuer = issuer;
    this.#http = http;
    this.#clock = clock;
  }

  /** @throws RegistryError UNAVAILABLE with a reason */
  async endpoint(name: EndpointName, o: CallOptions): Promise<URL> {
    const { document, host } = await this.#present(o);
    const url = document[name];
    const isSafe = typeof url === 'string' && isSecureUrl(url);
    // Whoever answers for an https issuer may not lead secrets onto a port of this machine.
    if (isSafe && (!isHttps(this.#issuer) || isHttps(url))) return new URL(url);
    const what = url === undefined ? `names no ${name}` : `names a ${name} that is not an https URL`;
    throw new RegistryError('UNAVAILABLE', { reason: `${host}: its discovery document ${what}` });
  }

  async close(): Promise<void> {
    this.#flights.close();
  }

  async #present(o: CallOptions): Promise<Known> {
    const now = this.#clock.now();
    const known = this.#known;
    if (known !== undefined && known.since <= now && now < known.until) return known;
    this.#known = await this.#flights
      .run('', o, (signal) => this.#fetch({ signal }))
      .catch((error: unknown) => {
        o.signal.throwIfAborted();
        if (known === undefined) throw error;
        return { ...known, since: now, until: now + pause };
      });
    return this.#known;
  }

  async #fetch(o: CallOptions): Promise<Known> {
    const since = this.#clock.now();
    const [openId, oauth] = wellKnown(this.#issuer);
    const answer = await getJson(this.#http, openId, {}, o);
    const found = answer.status === 404 ? await getJson(this.#http, oauth, {}, o) : answer;
    return { document: this.#checked(found), host: found.host, since, until: since + fresh };
  }

  /** The document must be of exactly this issuer: a slash more is another one. */
  #checked(answer: ServerAnswer): Claims {
    const { status, body } = answer;
    if (status >= 300 && status < 400)
      throw unusable(answer, `discovery answered ${status}; redirects are not followed`);
    if (status !== 200) throw unusable(answer, `discovery answered ${status}: is \`issuer\` right?`);
    if (typeof body?.issuer !== 'string') throw unusable(answer, 'its discovery document has no issuer');
    if (body.issuer === this.#issuer) return body;
    const named = JSON.stringify(body.issuer.slice(0, 200));
    throw unusable(answer, `its discovery document names the issuer ${named}, not ${this.#issuer}`);
  }
}

/** RFC 8414 puts its name before the issuer's path, OpenID Connect after it. */
function wellKnown(issuer: string): readonly [openId: URL, oauth: URL] {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, '');
  return [
    new URL(`${origin}${path}/.well-known/openid-configuration`),
    new URL(`${origin}/.well-known/oauth-authorization-server${path}`),
  ];
}

function isHttps(url: string): boolean {
  return /^https:/i.test(url);
}
