import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServedHosts } from '../routing/served-host.js';
import { refuseRequest } from './refuse-request.js';

/** RFC 9112 section 3.2: what clients send to servers, and what they send where they take us for a proxy. */
const originForm = /^\/[\x21-\x7e]*$/;
const absoluteForm = /^https?:\/\/([^/?#@]+)(\/[\x21-\x7e]*)?$/i;

/**
 * Sends plain http to https: 308, so that the method stays (RFC 9110 section 15.4.9). The host is one that we serve: what
 * a request names only chooses among those.
 *
 * @param hosts asked at each request, for a reload may change them
 */
export function redirectHandler(hosts: () => ServedHosts) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const target = parse(request);
    if (target === undefined) {
      refuseRequest(response, 400);
      return;
    }
    const { origin } = new URL(find(hosts(), target.host).realm);
    // No more comes over this connection: the client goes on elsewhere, and a body is not read.
    const headers = { location: `${origin}${target.path}`, 'content-length': 0, connection: 'close' };
    response.writeHead(308, headers).end();
  };
}

function parse({ url = '', headers }: IncomingMessage): { host: string; path: string } | undefined {
  if (originForm.test(url)) return { host: headers.host ?? '', path: url };
  const [, host, path = '/'] = absoluteForm.exec(url) ?? [];
  return host === undefined ? undefined : { host, path };
}

/** The port named is the one we redirect from, and says nothing of the one we serve on. */
function find(hosts: ServedHosts, header: string) {
  const [, name] = /^([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d*)?$/i.exec(header) ?? [];
  try {
    return (name === undefined ? undefined : hosts.named(name)) ?? hosts.find(undefined);
  } catch {
    return hosts.find(undefined); // no URL could be made of it
  }
}
