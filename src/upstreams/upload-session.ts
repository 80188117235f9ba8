import { RegistryError } from '../errors.js';
import type { Digest } from '../reference/digest.js';
import { shorten } from '../reference/repository-name.js';

/** A `Location` that is not followed. The message says why, for operators; no more than a host of what it held. */
export class LocationRefused extends Error {}

/**
 * Where an upload goes on (OCI distribution-spec v1.1, "Pushing a blob in chunks"). Whoever answers for the registry
 * chooses it, and our credential and the client's bytes go there: it must be the upstream's own (threat 8). A wrong
 * scheme or port on the same host is the mark of a registry behind a proxy that was told nothing of its own URL
 * (distribution#479, #996, #2862): the upstream's own origin is taken then.
 *
 * @param from where the answer came from: `Location` may be relative (Artifact Registry: `/artifacts-uploads/…`)
 * @throws LocationRefused
 */
export function sessionLocation(location: string | undefined, from: URL, upstream: URL): URL {
  if (location === undefined || location === '') throw new LocationRefused('there is no Location');
  if (!URL.canParse(location, from.href)) throw new LocationRefused('the Location is not a URL');
  const url = new URL(location, from);
  if (url.username !== '' || url.password !== '') {
    throw new LocationRefused('the Location carries a user name or password');
  }
  const isWeb = url.protocol === 'http:' || url.protocol === 'https:';
  if (!isWeb || url.hostname !== upstream.hostname) {
    throw new LocationRefused(`the Location leads to ${shorten(url.host || url.protocol)}`);
  }
  const own = new URL(upstream.origin);
  own.pathname = url.pathname;
  own.search = url.search;
  return own;
}

/**
 * The session's URL as it came back from a client. It was checked when it was handed out; the upstream behind its name
 * may be another one since.
 *
 * @throws RegistryError BLOB_UPLOAD_INVALID
 */
export function parseSession(text: string, upstream: URL): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.origin !== upstream.origin || url.username !== '' || url.password !== '') {
    throw new RegistryError('BLOB_UPLOAD_INVALID', { reason: "the session's URL is not the upstream's" });
  }
  return url;
}

/** Any `digest` of the session's query is replaced; the rest, distribution's signed `_state`, stays as it is. */
export function withDigest(session: URL, digest: Digest): URL {
  const others = session.search
    .slice(1)
    .split('&')
    .filter((part) => part !== '' && !new URLSearchParams(part).has('digest'));
  const url = new URL(session);
  url.search = [...others, `digest=${encodeURIComponent(digest)}`].join('&');
  return url;
}
