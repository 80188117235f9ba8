import { createHash } from 'node:crypto';
import { copyScript } from './copy-script.js';
import { pageStyle } from './page-style.js';

/** A file that pages need, the same for everybody. */
export interface Asset {
  readonly contentType: string;
  readonly body: Buffer;
  /** Of its content (RFC 9110 section 8.8.3). */
  readonly etag: string;
  /** Its path with its content's hash as query: a browser asks again where another version wrote the page. */
  readonly url: string;
}

/** Two stacked layers. */
const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1f5fae"/><path d="M16 6l10 5.5-10 5.5L6 11.500z" fill="#fff"/><path d="M7.500 16.200L16 20.900l8.500-4.700L26 17.300 16 23 6 17.300z" fill="#bcd6f5"/></svg>
`;

export const style = asset('/assets/page.css', 'text/css; charset=utf-8', pageStyle);
export const script = asset('/assets/copy.js', 'text/javascript; charset=utf-8', copyScript);
export const favicon = asset('/assets/icon.svg', 'image/svg+xml', icon);

/** By their paths. */
export const assets: ReadonlyMap<string, Asset> = new Map(
  [style, script, favicon].map((one) => [one.url.replace(/\?.*/, ''), one]),
);

function asset(path: string, contentType: string, text: string): Asset {
  const hash = createHash('sha256').update(text).digest('base64url').slice(0, 16);
  return { contentType, body: Buffer.from(text), etag: `"${hash}"`, url: `${path}?v=${hash}` };
}
