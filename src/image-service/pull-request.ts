import type { Untold } from '../protocol/told-text.js';

/** The pod an image is pulled for, as kubelet says: `sandbox_config.metadata` of CRI. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** What kubelet asks for in PullImage, as far as it counts for choosing a credential. */
export interface PullRequest {
  /** As kubelet names it: `docker.example.com/app:1.2`. */
  readonly image: string;
  /** Absent where kubelet does not say; `crictl pull` without a pod does not. */
  readonly pod?: Pod;
  /** The pod's annotations, written by the pod's author. */
  readonly annotations: ReadonlyMap<string, string>;
  /** Kubelet has sent a credential of its own, an empty one with it: it is never replaced (KEP-2535). */
  readonly hasOwnCredential: boolean;
  /** And that one has nothing in it. */
  readonly isOwnEmpty?: boolean;
  /** What is secret of that one: it goes to the runtime alone, and is told nowhere. */
  readonly untold?: readonly Untold[];
}
