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
export type { FaultEffect, FaultMatch, Faults } from './faults.js';
export type { TlsFiles } from './loopback-server.js';
export { type Descriptor, type ManifestDocument, mediaTypes } from './manifest-document.js';
export { type MemoryRegistry, type MemoryRegistryOptions, startMemoryRegistry } from './memory-registry.js';
export type { ImageFiles, MemoryStore, StoredManifest } from './memory-store.js';
export { findProgram, requireProgram } from './programs.js';
export type { BasicAuthOptions, RegistryAuth } from './registry-auth.js';
export type { LoggedRequest, RequestMatch } from './request-log.js';
export { tarHeader, tarOf, tarPadding } from './tar-file.js';
export { type Architecture, architectures, tinyElf } from './tiny-elf.js';
export { artifactFor, bigImage, tinyImage, tinyImageFor } from './tiny-image.js';
export type { TokenAuthOptions, TokenRequest } from './token-service.js';
