import { X509Certificate } from 'node:crypto';

/** When a server's certificate, the first of a PEM text, begins and ends; milliseconds since the Unix epoch. */
export function certificateLife(pem: string): { readonly begin: number; readonly end: number } {
  const { validFrom, validTo } = new X509Certificate(pem);
  return { begin: Date.parse(validFrom), end: Date.parse(validTo) };
}

/**
 * What clients will hold against a certificate at this moment. It is a warning and no error: to serve with it is no worse
 * than not to serve.
 */
export function certificateWarning(pem: string, now: number): string | undefined {
  const { begin, end } = certificateLife(pem);
  if (end <= now) return `the certificate has expired on ${new Date(end).toISOString()}`;
  if (begin > now) return `the certificate is not valid before ${new Date(begin).toISOString()}`;
  return undefined;
}
