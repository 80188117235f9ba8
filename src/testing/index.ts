// For tests of drivers from outside this package, and of our own (`docker-registry-proxy/testing`).
export {
  type BlobContent,
  bytesOf,
  contentOf,
  contentOfParts,
  generatedBlob,
  noise,
} from './blob-content.js';
export type { StorageOptions } from './blob-storage.js';
export {
  type BlobStoreSubject,
  describeBlobStoreConformance,
} from './conformance/blob-store.js';
export {
  type CredentialSourceSubject,
  describeCredentialSourceConformance,
  revealCredential,
} from './conformance/credential-source.js';
export { describePolicyConformance, type PolicyCase, type PolicySubject } from './conformance/policy.js';
export { describeRuntimeConformance, type RuntimeSubject } from './conformance/runtime.js';
export { describeStateStoreConformance, type StateStoreSubject } from './conformance/state-store.js';
export {
  failureOf,
  keepsSecret,
  type MakeSubject,
  rejectsWhenAborted,
  rejectsWith,
} from './conformance/suite.js';
export { describeTokenIssuerConformance, type TokenIssuerSubject } from './conformance/token-issuer.js';
export { describeUpstreamConformance, type UpstreamOpening } from './conformance/upstream.js';
export {
  blobOf,
  bodyOf,
  jsonOf,
  manifestOf,
  referrersOf,
  registryRequest,
  tagsOf,
} from './conformance/upstream-requests.js';
export {
  bearerCredentials,
  describeVerifierConformance,
  passwordCredentials,
  type VerifierSubject,
} from './conformance/verifier.js';
export { FakeBlobStore } from './fake-blob-store.js';
export { FakeClock } from './fake-clock.js';
export { basicCredential, FakeCredentialSource } from './fake-credential-source.js';
export { FakeLog, type LoggedLine } from './fake-log.js';
export { FakeMetrics } from './fake-metrics.js';
export { type Allow, FakePolicy } from './fake-policy.js';
export { type FakeImage, FakeRuntime } from './fake-runtime.js';
export { FakeTokenIssuer } from './fake-token-issuer.js';
export { FakeUpstream, type UpstreamAnswer, upstreamResponse } from './fake-upstream.js';
export { type FakeUser, FakeVerifier } from './fake-verifier.js';
export type { FaultEffect, FaultMatch, Faults } from './faults.js';
export type { TlsFiles } from './loopback-server.js';
export { type Descriptor, type ManifestDocument, mediaTypes } from './manifest-document.js';
export { type MemoryRegistry, type MemoryRegistryOptions, startMemoryRegistry } from './memory-registry.js';
export type { ImageFiles, MemoryStore, StoredManifest } from './memory-store.js';
export { PlainUpstream } from './plain-upstream.js';
export { findProgram, requireProgram } from './programs.js';
export type { BasicAuthOptions, RegistryAuth } from './registry-auth.js';
export type { LoggedRequest, RequestMatch } from './request-log.js';
export { tarHeader, tarOf, tarPadding } from './tar-file.js';
export { type Architecture, architectures, tinyElf } from './tiny-elf.js';
export { artifactFor, bigImage, tinyImage, tinyImageFor } from './tiny-image.js';
export type { TokenAuthOptions, TokenRequest } from './token-service.js';
