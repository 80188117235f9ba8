import type { IncomingMessage } from 'node:http';
import type { CallOptions } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { readForm } from '../read-form.js';

/** Bytes. */
const maxSize = 16_384;

/** A form that one of our own pages sent. */
export type OwnForm = ReadonlyMap<string, string>;

/**
 * Reads a form, where it came from a page of ours. The form's own token is the caller's to check.
 *
 * @param origin of our pages
 * @param o.beforeBody called before the form is read
 * @throws RegistryError DENIED for one from elsewhere; UNSUPPORTED for another type or a field that is there twice;
 *   SIZE_INVALID for one that is too large, too slow or not whole
 */
export async function readOwnForm(
  request: IncomingMessage,
  origin: string,
  o: CallOptions & { readonly beforeBody: () => void },
): Promise<OwnForm> {
  const { headers } = request;
  const from = originOf(headers);
  if (from !== 'same-origin' && from !== origin) {
    throw new RegistryError('DENIED', {
      message: 'this form was not sent by a page of this site',
      reason: `a form from elsewhere (${from === undefined ? 'it does not say from where' : 'cross-site'})`,
    });
  }
  if (!/^application\/x-www-form-urlencoded *(;|$)/i.test(headers['content-type'] ?? '')) {
    throw new RegistryError('UNSUPPORTED', { status: 415, message: 'this is not a form' });
  }
  o.beforeBody();
  const fields = [...(await readForm(request, { ...o, maxSize }))];
  const form = new Map(fields);
  if (form.size === fields.length) return form;
  throw new RegistryError('UNSUPPORTED', { status: 400, message: 'a field of the form is there twice' });
}

/**
 * Where a form came from: `same-origin` or another word of `Sec-Fetch-Site` (Fetch Metadata), which no page can forge;
 * from older browsers, and over plain http, an origin.
 */
function originOf(headers: IncomingMessage['headers']): string | undefined {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return String(site);
  if (headers.origin !== undefined) return headers.origin;
  const { referer } = headers;
  return referer !== undefined && URL.canParse(referer) ? new URL(referer).origin : undefined;
}
