/** The types that drivers have where neither the configuration nor, for a credential, its upstream names one. */
export const defaultTypes = {
  upstream: 'registry',
  'credential-source': 'anonymous',
  policy: 'rules',
  'token-issuer': 'jwt',
  'state-store': 'memory',
  'blob-store': 'disk',
} as const;
