import type { DriverMap } from './driver-map.js';

/** Every driver of this package. To add one, write its file and name it here. */
export const builtInDrivers: DriverMap = {
  verifier: {
    anonymous: () => import('../verifiers/anonymous.js'),
    'aws-identity': () => import('../verifiers/aws-identity.js'),
    'aws-sts': () => import('../verifiers/aws-sts.js'),
    'azure-identity': () => import('../verifiers/azure-identity.js'),
    exec: () => import('../verifiers/exec.js'),
    'gcp-identity': () => import('../verifiers/gcp-identity.js'),
    htpasswd: () => import('../verifiers/htpasswd.js'),
    kubernetes: () => import('../verifiers/kubernetes.js'),
    ldap: () => import('../verifiers/ldap.js'),
    mtls: () => import('../verifiers/mtls.js'),
    'oauth2-introspection': () => import('../verifiers/oauth2-introspection.js'),
    'oauth2-password': () => import('../verifiers/oauth2-password.js'),
    oidc: () => import('../verifiers/oidc.js'),
    webhook: () => import('../verifiers/webhook.js'),
  },
  'credential-source': {
    acr: () => import('../credential-sources/acr.js'),
    anonymous: () => import('../credential-sources/anonymous.js'),
    'aws-identity': () => import('../credential-sources/aws-identity.js'),
    'aws-sts': () => import('../credential-sources/aws-sts.js'),
    'azure-identity': () => import('../credential-sources/azure-identity.js'),
    'docker-config': () => import('../credential-sources/docker-config.js'),
    ecr: () => import('../credential-sources/ecr.js'),
    exec: () => import('../credential-sources/exec.js'),
    gcp: () => import('../credential-sources/gcp.js'),
    'gcp-identity': () => import('../credential-sources/gcp-identity.js'),
    'kubernetes-token': () => import('../credential-sources/kubernetes-token.js'),
    static: () => import('../credential-sources/static.js'),
  },
  policy: {
    rules: () => import('../policies/rules.js'),
  },
  'token-issuer': {
    jwt: () => import('../token-issuers/jwt.js'),
  },
  upstream: {
    registry: () => import('../upstreams/registry.js'),
  },
  runtime: {
    cri: () => import('../runtimes/cri.js'),
    docker: () => import('../runtimes/docker.js'),
  },
  'blob-store': {
    disk: () => import('../blob-stores/disk.js'),
  },
  'state-store': {
    file: () => import('../state-stores/file.js'),
    memory: () => import('../state-stores/memory.js'),
  },
};
