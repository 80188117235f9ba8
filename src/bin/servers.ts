import { isDeepStrictEqual } from 'node:util';
import type { Configuration } from '../config/configuration.js';
import { adminHandler } from '../http/admin.js';
import { FrontServer } from '../http/front-server.js';
import { Listener, type ListenerOptions } from '../http/listener.js';
import { redirectHandler } from '../http/redirect.js';
import type { TlsContext } from '../http/tls-gate.js';
import type { PrometheusMetrics } from '../observability/prometheus-metrics.js';
import { AddressRanges, plainAddress } from '../settings/address-range.js';
import { certificateLife, certificateWarning } from './certificate-life.js';
import type { Generation, GenerationSurroundings } from './generation.js';
import { readTlsFiles } from './tls-files.js';

export interface ServerSurroundings extends GenerationSurroundings {
  readonly metrics: PrometheusMetrics;
}

/** Where a socket listens; the port is known even where the configuration says 0. */
export interface BoundAddress {
  readonly address: string;
  readonly port: number;
}

/** Milliseconds that what is not for clients gets to finish. */
export const shortDrain = 1_000;

/** The sockets. They stay over reloads, with the addresses they were opened with. */
export class Servers {
  readonly front: FrontServer;
  /** What `/readyz` says. */
  isReady = false;
  /** What the sockets were opened with. */
  readonly #opened: Configuration;
  readonly #surroundings: ServerSurroundings;
  #listener: Listener | undefined;
  #admin: Listener | undefined;
  #redirect: Listener | undefined;
  #tls: TlsContext | undefined;

  constructor({ configuration, front }: Generation, surroundings: ServerSurroundings) {
    this.#opened = configuration;
    this.#surroundings = surroundings;
    this.front = new FrontServer(front, surroundings);
  }

  get address(): BoundAddress {
    return (this.#listener as Listener).address;
  }
  get adminAddress(): BoundAddress | undefined {
    return this.#admin?.address;
  }
  get redirectAddress(): BoundAddress | undefined {
    return this.#redirect?.address;
  }

  /** The front last: when a client can connect all is there. @throws an Error with a one-line message */
  async open(): Promise<void> {
    const { listen, admin, tls, baseDirectory } = this.#opened;
    const { log, metrics, clock } = this.#surroundings;
    if (tls) this.#use(await readTlsFiles(tls, baseDirectory));
    // What administrators ask of workers is answered for all of them together.
    if (admin && !this.#surroundings.shared) {
      const handle = adminHandler({ metrics, unready: () => (this.isReady ? undefined : 'draining') });
      this.#admin = await Listener.open({ ...admin.listen, handle, metrics, log, name: 'admin' });
    }
    const shared = { ...boundsOf(this.#opened), metrics, log, clock };
    if (tls?.redirectFrom) {
      const handle = redirectHandler(() => this.front.parts.routes.hosts);
      this.#redirect = await Listener.open({ ...tls.redirectFrom, ...shared, handle, name: 'redirect' });
    }
    const front = { ...listen, ...shared, handle: this.front.handle };
    this.#listener = await Listener.open({ ...front, ...(this.#tls && { tls: this.#tls }) });
    this.isReady = true;
  }

  /**
   * Takes what open sockets can take of another configuration.
   *
   * @returns the settings that need a restart
   * @throws an Error with a one-line message; nothing was changed then
   */
  async adjust(configuration: Configuration): Promise<readonly string[]> {
    const { tls, baseDirectory } = configuration;
    if (this.#opened.tls && tls) {
      const context = await readTlsFiles(tls, baseDirectory);
      if (!isDeepStrictEqual(context, this.#tls)) {
        this.#listener?.replaceCertificate(context);
        this.#use(context);
      }
    }
    const bounds = boundsOf(configuration);
    this.#listener?.adjust(bounds);
    this.#redirect?.adjust(bounds);
    return unlike(this.#opened, configuration);
  }

  #use(tls: TlsContext): void {
    const { metrics, log, clock } = this.#surroundings;
    this.#tls = tls;
    const ends = metrics.gauge(
      'tls_certificate_end_timestamp_seconds',
      'When the certificate we serve with expires, in seconds since the Unix epoch',
      [],
      'min',
    );
    ends.set({}, certificateLife(tls.certificate).end / 1000);
    const warning = certificateWarning(tls.certificate, clock.now());
    if (warning !== undefined) log.warn({ event: 'certificate' }, warning);
  }

  /** The admin server last: it tells that we are not ready any more. @returns how many requests were cut */
  async drain(timeout: number): Promise<{ readonly cut: number }> {
    const [drained] = await Promise.all([
      this.#listener?.drain(timeout),
      this.#redirect?.drain(Math.min(timeout, shortDrain)),
    ]);
    await this.#admin?.drain(Math.min(timeout, shortDrain));
    return drained ?? { cut: 0 };
  }
}

function boundsOf({
  limits,
  trustedProxies,
}: Configuration): Required<Pick<ListenerOptions, 'limits' | 'isTrusted'>> {
  const ranges = new AddressRanges(trustedProxies);
  return { limits, isTrusted: (address) => ranges.includes(plainAddress(address)) };
}

/** The settings of sockets that differ: a socket that is open cannot become another one. */
function unlike(opened: Configuration, next: Configuration): readonly string[] {
  const settings: readonly (readonly [string, (one: Configuration) => unknown])[] = [
    ['listen', ({ listen }) => listen],
    ['workers', ({ workers }) => workers],
    // With workers it is in the process that has started them.
    ['state', ({ workers, state }) => (workers > 1 ? state.raw : undefined)],
    ['admin', ({ admin }) => admin?.listen],
    ['tls', ({ tls }) => tls !== undefined],
    ['tls.redirectFrom', ({ tls }) => tls?.redirectFrom],
  ];
  return settings.filter(([, of]) => !isDeepStrictEqual(of(opened), of(next))).map(([name]) => name);
}
