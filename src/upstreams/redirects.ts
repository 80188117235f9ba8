import { RegistryError } from '../errors.js';
import { discard } from './bodies.js';
import { isInternalHost } from './local-address.js';
import type { Answer, OutgoingRequest, Transport } from './transport.js';

const maxHops = 5;

export function isRedirect(answer: Answer): boolean {
  return [301, 302, 303, 307, 308].includes(answer.status) && answer.headers.has('location');
}

/**
 * Where an answer redirects to, absolute (Artifact Registry sends relative ones). The target may be a signed URL: it
 * is a secret, and no message holds more than its host.
 *
 * @throws RegistryError UNAVAILABLE where we do not follow
 */
export function redirectTarget(answer: Answer, from: URL, upstream: URL): URL {
  const location = answer.headers.get('location') ?? '';
  if (!URL.canParse(location, from.href)) throw refused('to what is not a URL');
  const target = new URL(location, from);
  target.hash = '';
  const safe = target.protocol === 'https:' || (target.protocol === 'http:' && upstream.protocol === 'http:');
  if (!safe) throw refused(`to ${target.host} without TLS`);
  if (target.username !== '' || target.password !== '') throw refused('with a user name or password');
  if (isInternalHost(target) && !isInternalHost(upstream)) throw refused(`to the address ${target.host}`);
  return target;
}

/**
 * Follows redirects of a GET or HEAD. Authorization goes to the upstream's own origin only, and never again once
 * another origin was visited: storage answers 400 to it, and it would leak.
 *
 * @param first the upstream's answer to `request`
 * @returns an answer that is no redirect
 * @throws RegistryError UNAVAILABLE
 */
export async function followRedirects(
  transport: Transport,
  request: OutgoingRequest,
  first: Answer,
  upstream: URL,
): Promise<Answer> {
  let answer = first;
  const { method, signal, pool } = request;
  let { url, headers } = request;
  for (let hop = 0; isRedirect(answer); hop++) {
    discard(answer.body);
    if (hop === maxHops) throw refused(`more than ${maxHops} times`);
    url = redirectTarget(answer, url, upstream);
    if (url.origin !== upstream.origin) headers = withoutAuthorization(headers);
    answer = await transport.send({ method, url, headers, signal, ...(pool && { pool }) });
  }
  return answer;
}

function withoutAuthorization(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const { authorization: _, ...others } = headers;
  return others;
}

function refused(what: string): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason: `the upstream redirects ${what}` });
}
