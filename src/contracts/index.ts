// What a driver from outside this package needs (`docker-registry-proxy/contracts`).
export * from '../errors.js';
export { Secret } from '../secret.js';
// The values a driver's configuration is made of: files and secrets declared with these are checked before it opens.
export { addressRange } from '../settings/address-range.js';
export { duration } from '../settings/duration.js';
export { FilePath, ownDirectory, readableFile, writtenFile } from '../settings/file-path.js';
export { type SecretSource, secretSource } from '../settings/secret-source.js';
export { secureUrl } from '../settings/secure-url.js';
export * from './audit.js';
export * from './blob-store.js';
export * from './call-options.js';
export * from './clock.js';
export * from './credential-source.js';
export * from './driver.js';
export * from './log.js';
export * from './metrics.js';
export * from './node.js';
export * from './policy.js';
export * from './principal.js';
export * from './registry-request.js';
export * from './runtime.js';
export * from './state-store.js';
export * from './token-issuer.js';
export * from './upstream.js';
export * from './verifier.js';
