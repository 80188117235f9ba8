/** What a page request is answered with. */
export interface PageAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Values of `Set-Cookie`. */
  readonly cookies?: readonly string[];
  readonly body?: Buffer;
}

/**
 * Of every answer. `form-action` holds for redirects after a form as well, which is why signing in begins with a link.
 * HTTP Strict Transport Security is not ours to promise: it binds the whole host, whatever else is on it.
 */
export const pageHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    "style-src 'self'",
    "script-src 'self'",
    "img-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy':
    'camera=(), geolocation=(), microphone=(), payment=(), usb=(), clipboard-write=(self)',
  'cache-control': 'no-store',
};

/** A page without forms, or whose forms nobody needs. */
export function document(body: Buffer, status = 200): PageAnswer {
  return { status, headers: { 'content-type': 'text/html; charset=utf-8' }, body };
}

/**
 * A page with forms: browsers say with `no-referrer` that a form came from `null`, also to our own site (Fetch section
 * 3.2), and those without `Sec-Fetch-Site` have nothing else to tell by.
 */
export function documentWithForms(body: Buffer): PageAnswer {
  const answer = document(body);
  return { ...answer, headers: { ...answer.headers, 'referrer-policy': 'same-origin' } };
}

/** @param status 303 after a form, so that a reload does not send it again */
export function redirect(status: 302 | 303, location: string, cookies: readonly string[] = []): PageAnswer {
  return { status, headers: { location }, cookies };
}
