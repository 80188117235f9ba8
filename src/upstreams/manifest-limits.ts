/** Bytes: what every registry takes (OCI distribution-spec v1.1, "Pushing Manifests"). */
export const maxManifest = 4 * 1024 * 1024;

/** Its digest is not that of its bytes but of the part that was signed. */
export const signedSchema1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
