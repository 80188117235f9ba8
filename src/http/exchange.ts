import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ClientCredentials } from '../contracts/index.js';
import type { RouteTable } from '../routing/route-table.js';
import type { ServedHost } from '../routing/served-host.js';
import type { AddressRanges } from '../settings/address-range.js';
import { clientAddress } from './client-address.js';
import { clientCertificate } from './client-certificate.js';
import { whyGone } from './client-gone.js';
import { endAnswer, hasBody } from './end-answer.js';
import { RequestBody } from './request-body.js';

/** What an exchange needs to know of the configuration. */
export interface ExchangeParts {
  readonly routes: RouteTable;
  readonly trustedProxies: AddressRanges;
  /** In which trusted proxies put the client's certificate; in lower case. */
  readonly clientCertificateHeader?: string;
}

/** One request and its answer. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Also in the answer's `X-Request-Id`, and in the logs. */
  readonly id = randomUUID();
  readonly host: ServedHost;
  readonly connection: ClientCredentials['connection'];
  /** Why the certificate that a trusted proxy sent does not count. */
  readonly certificateFault: string | undefined;
  /** Aborted with a ClientGone or a CutByUs where the connection ends before the answer. */
  readonly signal: AbortSignal;
  readonly startedAt = performance.now();
  /** What the client showed about itself, once that was understood. */
  shown: ClientCredentials['shown']['kind'] | 'refresh-token' | 'certificate' | undefined;
  #body: RequestBody | undefined;
  #wasAsked = false;

  constructor(request: IncomingMessage, response: ServerResponse, parts: ExchangeParts) {
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) gone.abort(whyGone(response));
    });
    response.setHeader('x-request-id', this.id);
    this.request = request;
    this.response = response;
    this.host = parts.routes.hosts.find(request.headers.host);
    const { trustedProxies, clientCertificateHeader } = parts;
    const { certificate, fault } = clientCertificate(request, trustedProxies, clientCertificateHeader);
    this.certificateFault = fault;
    this.connection = {
      address: clientAddress(request, trustedProxies),
      ...(certificate && { peerCertificate: certificate }),
    };
    this.signal = gone.signal;
  }

  /** The body of a push; undefined where there is none. */
  body(): RequestBody | undefined {
    const { method } = this.request;
    if (!hasBody(this.request) || (method !== 'POST' && method !== 'PUT' && method !== 'PATCH'))
      return undefined;
    this.#body ??= new RequestBody(this.request, this.askForBody);
    return this.#body;
  }

  /** Bytes of the request's body so far. */
  get received(): number {
    return this.#body?.received ?? 0;
  }

  /** Sends the 100 that a client with `Expect: 100-continue` waits for: only once it is let in. */
  readonly askForBody = (): void => {
    if (this.#wasAsked) return;
    this.#wasAsked = true;
    if (this.#holdsBodyBack) this.response.writeContinue();
  };

  /** Ends the answer, whose head was written. */
  async end(body?: Buffer): Promise<void> {
    this.#body?.destroy(); // it would hold back the rest that is read away
    const withoutBody = this.request.method === 'HEAD';
    await endAnswer(this.response, withoutBody ? undefined : body, this.#holdsBodyBack && !this.#wasAsked);
  }

  get #holdsBodyBack(): boolean {
    const { headers, httpVersion } = this.request;
    return httpVersion === '1.1' && headers.expect?.toLowerCase() === '100-continue';
  }
}
