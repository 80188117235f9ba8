import type { ECRClientConfig } from '@aws-sdk/client-ecr';
import { RegistryError } from '../../errors.js';
import { uriComponent } from '../../protocol/uri-component.js';
import { isLoopbackHost } from '../../settings/secure-url.js';
import type { HttpCaller } from '../http-caller.js';

/** A request of the SDK's, as far as we send it; its bodies are JSON and forms. */
interface SdkRequest {
  readonly method: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number | undefined;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[] | null>> | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export type SdkRequestHandler = NonNullable<ECRClientConfig['requestHandler']>;

/**
 * Sends the SDK's requests over our own connections: `ca`, `proxy`, the limits of time and size, no redirects.
 *
 * Over http only to this machine itself: these requests carry web identities and sessions, and answers hold keys.
 *
 * @param signal of the call all this is done for: the SDK passes it on to some of its inner clients only
 */
export function sdkRequests(http: HttpCaller, signal: AbortSignal): SdkRequestHandler {
  return {
    metadata: { handlerProtocol: 'http/1.1' },
    handle: async (request: SdkRequest) => {
      const url = urlOf(request);
      requireSecure(url);
      const { status, headers, text } = await http.call({
        url,
        method: request.method === 'GET' ? 'GET' : 'POST',
        // STS answers in JSON to whoever accepts it, and the SDK reads XML.
        headers: { accept: '*/*', ...request.headers },
        ...(request.body != null && { body: textOf(request.body) }),
        signal,
      });
      const response = { statusCode: status, headers: Object.fromEntries(headers), body: Buffer.from(text) };
      return { response };
    },
    updateHttpClientConfig: () => {},
    httpHandlerConfigs: () => ({}),
    destroy: () => {},
  };
}

/** @throws RegistryError UNAVAILABLE */
function requireSecure({ protocol, hostname, host }: URL): void {
  if (protocol === 'https:' || isLoopbackHost(hostname)) return;
  const reason = `${host} is to be asked over ${protocol.slice(0, -1)}: AWS_ENDPOINT_URL and its like, and endpoint_url of a profile, must be https`;
  throw new RegistryError('UNAVAILABLE', { reason });
}

function urlOf({ protocol, hostname, port, path, query = {} }: SdkRequest): URL {
  const url = new URL(`${protocol}//${hostname}`);
  if (port !== undefined) url.port = String(port);
  url.pathname = path;
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value].flat().map((one) => `${uriComponent(name)}=${uriComponent(one ?? '')}`),
  );
  url.search = pairs.join('&');
  return url;
}

/** The SDK's bytes warn where they are taken for a text, as Buffer.from does. */
function textOf(body: unknown): string {
  return body instanceof Uint8Array ? new TextDecoder().decode(body) : String(body);
}
