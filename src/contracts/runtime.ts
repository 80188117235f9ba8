import type { ClientHttp2Stream, OutgoingHttpHeaders } from 'node:http2';
import type { ImageReference } from '../reference/image-reference.js';
import type { CallOptions, Closable } from './call-options.js';
import type { Credential } from './credential-source.js';

/** An image in a container runtime (CRI `runtime.v1.Image`). */
export interface RuntimeImage {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  /** Bytes, more than 0. */
  readonly size: number;
  readonly user?: { readonly uid: number } | { readonly username: string };
  readonly pinned: boolean;
}

/** CRI `runtime.v1.FilesystemUsage`. */
export interface FilesystemUsage {
  /** Milliseconds since the epoch. */
  readonly timestamp: number;
  /** A path of the host. */
  readonly mountpoint: string;
  readonly usedBytes: number;
  readonly inodesUsed: number;
}

/** How far a pull has come, where the runtime tells. */
export interface PullProgress {
  /** Downloaded so far, of all layers. */
  readonly bytes: number;
  readonly layers: { readonly done: number; readonly total: number };
}

export interface PullOptions extends CallOptions {
  /** Absent: the image is asked for as nobody. */
  readonly credential?: Credential;
  /** Told again and again while something moves. Never throws. */
  readonly onProgress?: (progress: PullProgress) => void;
}

/**
 * Why a runtime could not do what it was asked, where the registry is not to blame. `unavailable`: it does not answer.
 * `stalled`: a pull moved no byte for too long. `signature`: it does not accept the image's signature. `full`: no space
 * is left for the image. `in use`: a container needs the image. `failed`: anything else it says.
 */
export type RuntimeFault = 'unavailable' | 'stalled' | 'signature' | 'full' | 'in use' | 'failed';

/** What the runtime itself failed at. The message is for pod events: it holds no secret. */
export class RuntimeError extends Error {
  override readonly name = 'RuntimeError';
  readonly fault: RuntimeFault;

  constructor(fault: RuntimeFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}

/**
 * A container runtime's image store on a node, where the runtime does not speak CRI itself.
 *
 * What the runtime or its registry says about a failure is the error's `reason` (RegistryError) or message
 * (RuntimeError): one line, without secrets, and without what only we know, such as whose credential it was.
 */
export interface Runtime extends Closable {
  readonly kind: 'engine';

  /**
   * @returns the image's id
   * @throws RegistryError NAME_UNKNOWN, MANIFEST_UNKNOWN, UNAUTHORIZED, DENIED, TOOMANYREQUESTS or UNAVAILABLE of the registry
   * @throws RuntimeError
   */
  pull(image: ImageReference, o: PullOptions): Promise<string>;
  /**
   * @param image a reference, a digest or an id, or the beginning of one. @returns undefined where it is not there
   * @throws RuntimeError
   */
  status(image: string, o: CallOptions): Promise<RuntimeImage | undefined>;
  /** @throws RuntimeError */
  list(o: CallOptions & { readonly image?: string }): Promise<readonly RuntimeImage[]>;
  /** Removes the image with all its tags; what is not there is fine. @throws RuntimeError */
  remove(image: string, o: CallOptions): Promise<void>;
  /** At least one. @throws RuntimeError */
  fsInfo(o: CallOptions): Promise<readonly FilesystemUsage[]>;
  /** Whether it answers now: cheap, and never from what was known before. @throws RuntimeError where it does not */
  ping(o: CallOptions): Promise<void>;
}

/**
 * A container runtime that speaks CRI: calls pass through byte for byte. It speaks Node's HTTP/2 streams, and not values,
 * since a value would lose what this version of ours does not know.
 */
export interface CriRuntime extends Closable {
  readonly kind: 'cri';
  /** For messages: `unix:///run/containerd/containerd.sock`. */
  readonly endpoint: string;
  /** True while there is a connection. It connects again for ever. */
  readonly isConnected: boolean;

  /**
   * Begins a call as soon as the runtime is connected. The caller writes the request to the stream and ends it.
   *
   * @param headers of the request, `:path` with them
   * @throws RuntimeError `unavailable` where it is not connected in time; the signal's reason
   */
  begin(headers: OutgoingHttpHeaders, o: CallOptions): Promise<ClientHttp2Stream>;
}

/** What a driver of kind `runtime` opens. */
export type NodeRuntime = Runtime | CriRuntime;
