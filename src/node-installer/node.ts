/** What the installer reads of a node, by absolute path: nothing else is looked at. */
export interface NodeSnapshot {
  readonly files: ReadonlyMap<string, string>;
  /** Running programs that are a kubelet, or have one in them (k3s, RKE2), from /proc. */
  readonly kubelets: readonly RunningKubelet[];
  /** Our own files, by path. */
  readonly own: ReadonlyMap<string, OwnFile>;
  /** By directory of ours: it, as far as it is there, and those that it is in. */
  readonly access: ReadonlyMap<string, readonly DirectoryAccess[]>;
}

/** Who may write a directory. */
export interface DirectoryAccess {
  readonly path: string;
  /** User id. */
  readonly owner: number;
  /** Permission bits. */
  readonly mode: number;
}

/** A file of ours as it is now. */
export interface OwnFile {
  /** Only of units and drop-ins: a copy of a configuration may hold secrets, and the executable is no text. */
  readonly text?: string;
  /** SHA-256 of its bytes, in hexadecimal digits. */
  readonly hash: string;
  /** Permission bits. */
  readonly mode: number;
}

export interface RunningKubelet {
  readonly pid: number;
  readonly argv: readonly string[];
}

export type InstallMode = 'host' | 'pod' | 'credential-provider';

/** What an administrator wants of a node. */
export interface Desired {
  readonly mode: InstallMode;
  /** An absolute path; absent: where the platform allows execution. */
  readonly directory?: string;
  /** Of the image service; host mode makes its service listen there, pod mode expects the pod's. */
  readonly socket: string;
  /** The configuration and the files beside it, by name; in pod mode only kept for `credential-provider`. */
  readonly configuration: ReadonlyMap<string, string>;
  /** Name of the configuration among them. */
  readonly configurationName: string;
  /** Sources that run code as root on the node, and that the arguments allow. */
  readonly allow: readonly ('exec' | 'module')[];
  /** Before our endpoint another one may stand, which ours is configured to ask. */
  readonly chain: boolean;
  /** A path of the installer's own surroundings: the executable that is copied to the node. */
  readonly executable: string;
  /** SHA-256 of the executable, in hexadecimal digits. */
  readonly executableHash: string;
  readonly version: string;
}

export type PlatformName =
  | 'gke-cos'
  | 'gke-ubuntu'
  | 'eks-al2023'
  | 'eks-al2'
  | 'aks'
  | 'kubeadm'
  | 'kind'
  | 'minikube'
  | 'k3s'
  | 'rke2'
  | 'bottlerocket'
  | 'openshift'
  | 'gke-autopilot'
  | 'talos'
  | 'unknown';

/** How our arguments get into kubelet's command line. Its own values are never copied. */
export type ArgumentsPath =
  /** ExecStart has the variable as a word of its own; its value is amended when kubelet starts. */
  | { readonly kind: 'amend'; readonly variable: string }
  /** ExecStart as the unit has it, word for word, with a variable of ours at its end. */
  | {
      readonly kind: 're-emit';
      readonly variable: 'KUBELET_IMAGE_SERVICE_ARGUMENTS';
      readonly execStart: string;
    };

export interface ObservedNode {
  readonly platform: PlatformName;
  /** For people: `Google Kubernetes Engine, Container-Optimized OS`. */
  readonly platformTitle: string;
  readonly kubelet:
    | {
        /** `kubelet.service`, `k3s.service`, … */
        readonly unit: string;
        readonly fragmentPath: string;
        /** Those of others; ours is not among them. */
        readonly dropInPaths: readonly string[];
        readonly argumentsPath: ArgumentsPath;
        /** Of the running one; 0 where none runs. */
        readonly pid: number;
        /** Its image endpoint now, from the command line, or its configuration where no flag says it. */
        readonly imageEndpoint: string | undefined;
        /** The runtime's endpoint, or undefined for the default. */
        readonly runtimeEndpoint: string | undefined;
        /** What it starts with today, so that ours can be added to it. */
        readonly credentialProvider: { readonly config: string; readonly binDirectory: string } | undefined;
      }
    | undefined;
  /** Where programs may be executed. */
  readonly executableDirectory: string;
  /** Where files stay over a reboot. */
  readonly stateDirectory: string;
  /** Things an administrator should know, one sentence each. */
  readonly notes: readonly string[];
  /** Why nothing can be installed here, each a sentence with what to do instead; none: it can. */
  readonly refusals: readonly string[];
  /** Our own files as they are now. */
  readonly own: ReadonlyMap<string, OwnFile>;
}

/** One file of ours. None of another's is ever changed. */
export interface Change {
  readonly path: string;
  readonly before: { readonly hash: string; readonly text?: string } | undefined;
  readonly after:
    | { readonly content: string | { readonly copyOf: string; readonly hash: string }; readonly mode: number }
    | undefined;
  /**
   * `service` ones touch nothing that kubelet reads, `kubelet` ones need its restart. A plan has them in the order in
   * which they are made: files of `service` that go, go after kubelet has done without them.
   */
  readonly stage: 'service' | 'kubelet';
}

export interface Plan {
  readonly verdict: 'install' | 'uninstall' | 'nothing to do' | 'refused';
  /** Sentences: the platform, what is found, why it is refused. */
  readonly reasons: readonly string[];
  readonly changes: readonly Change[];
  /** Files beside ours, and ours that somebody else has changed since we wrote them: they stay as they are. */
  readonly kept: readonly string[];
}
