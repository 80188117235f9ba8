import type { KeyFile } from './key-file.js';
import { checkGoogleUrl, isMachineUrl } from './key-file-urls.js';

const tokenEndpoint = 'https://oauth2.googleapis.com/token';

/**
 * True for what a credential file of this kind is to be asked for. The library takes its URLs from many places, of which
 * its next version may know one more: whatever it asks for, no other host gets a token.
 */
export function isAskedWith(key: KeyFile, url: URL): boolean {
  switch (key.type) {
    case 'service_account':
    case 'authorized_user':
      return url.href === tokenEndpoint;
    case 'impersonated_service_account':
      return isOfGoogle(url, 'iamcredentials') || isAskedWith(key.source, url);
    case 'external_account':
      return isOfGoogle(url, 'sts') || isOfGoogle(url, 'iamcredentials') || isSource(key, url);
  }
}

function isSource({ source, sourceUrls }: Extract<KeyFile, { type: 'external_account' }>, url: URL): boolean {
  const given = sourceUrls.map((one) => new URL(one));
  if (source === 'url') return given.some(({ href }) => href === url.href);
  // The name of a role comes behind the URL.
  return isMachineUrl(url) && given.some(({ origin }) => origin === url.origin);
}

function isOfGoogle(url: URL, service: 'sts' | 'iamcredentials'): boolean {
  try {
    checkGoogleUrl('url', url.href, service);
    return true;
  } catch {
    return false;
  }
}
