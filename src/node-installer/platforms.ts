import type { PlatformName } from './node.js';

export interface Platform {
  /** For people. */
  readonly title: string;
  readonly executableDirectory: string;
  readonly stateDirectory: string;
  /** One sentence each. */
  readonly notes: readonly string[];
  /** Why nothing can be installed, with what to do instead. */
  readonly refusal?: string;
}

const usual = {
  executableDirectory: '/opt/kubelet-image-service/bin',
  stateDirectory: '/var/lib/kubelet-image-service',
  notes: [],
} as const;

/** /var and most of /home are mounted noexec on Container-Optimized OS; Ubuntu nodes have the same layout. */
const gke = {
  executableDirectory: '/home/kubernetes/bin',
  stateDirectory: '/home/kubernetes/kubelet-image-service',
} as const;

const asMirror =
  'use docker-registry-proxy as a registry or a mirror instead, which needs nothing on the node';

const rancher = {
  ...usual,
  notes: [
    'kubelet runs inside this service: what restarts kubelet restarts all of it; credential-provider mode is recommended here',
  ],
} as const;

export const platforms: Readonly<Record<PlatformName, Platform>> = {
  'gke-cos': {
    ...gke,
    title: 'Google Kubernetes Engine, Container-Optimized OS',
    notes: [
      '/etc is lost at each reboot: kubelet then runs without us until the installer has run again, which the DaemonSet does',
    ],
  },
  'gke-ubuntu': { ...gke, title: 'Google Kubernetes Engine, Ubuntu', notes: [] },
  'gke-autopilot': {
    ...gke,
    title: 'Google Kubernetes Engine, Autopilot',
    notes: [],
    refusal: `GKE Autopilot: nodes belong to Google, and nothing may be changed on them; ${asMirror}`,
  },
  'eks-al2023': { ...usual, title: 'Amazon EKS, Amazon Linux 2023' },
  'eks-al2': { ...usual, title: 'Amazon EKS, Amazon Linux 2' },
  aks: { ...usual, title: 'Azure Kubernetes Service' },
  kubeadm: { ...usual, title: 'kubeadm' },
  kind: { ...usual, title: 'kind' },
  minikube: {
    ...usual,
    title: 'minikube',
    notes: [
      'on a virtual machine all but /var is lost at each reboot: kubelet then runs without us until the installer has run again',
    ],
  },
  k3s: { ...rancher, title: 'K3s' },
  rke2: { ...rancher, title: 'RKE2' },
  bottlerocket: {
    ...usual,
    title: 'Bottlerocket',
    refusal: `Bottlerocket: its system is read-only, and kubelet is configured through its settings API alone; ${asMirror} (settings.container-registry.mirrors)`,
  },
  openshift: {
    ...usual,
    title: 'OpenShift',
    refusal: `OpenShift: the Machine Config Operator owns kubelet's unit, and takes a changed node out of service; ${asMirror} (ImageDigestMirrorSet), or add the credential provider by a MachineConfig`,
  },
  talos: {
    ...usual,
    title: 'Talos Linux',
    refusal: `Talos Linux: its system is read-only and has no systemd; ${asMirror} (machine.registries.mirrors)`,
  },
  unknown: {
    ...usual,
    title: 'unknown platform',
    refusal: `this is none of the platforms that the installer knows; configure kubelet by hand (kubelet-image-service credential-provider --print-config is the safest), or ${asMirror}`,
  },
};

/** What a platform is told by. */
export interface Signs {
  readonly osRelease: ReadonlyMap<string, string>;
  readonly hostname: string;
  /** Absent: there is none. */
  readonly unit?: string;
  /** Of its command, variables as they are written; none where it cannot be read. */
  readonly words: readonly string[];
  /** Names of files. */
  readonly dropIns: readonly string[];
  /** True where there is such a file or directory. */
  readonly has: (marker: string) => boolean;
}

/** Files and directories whose being there says something; they are not read. */
export const markers = {
  eks: '/etc/eks',
  aks: '/opt/azure/containers',
  kind: '/kind',
  openshift: '/etc/machine-config-daemon',
} as const;

type Sign = (signs: Signs) => boolean;

const isOs =
  (...ids: readonly string[]): Sign =>
  ({ osRelease }) =>
    ids.includes(osRelease.get('ID') ?? '');
const hasWord =
  (word: string): Sign =>
  ({ words }) =>
    words.includes(word);
const runs =
  (directory: string): Sign =>
  ({ words }) =>
    words[0]?.startsWith(directory) ?? false;
const both =
  (...signs: readonly Sign[]): Sign =>
  (of) =>
    signs.every((sign) => sign(of));
const either =
  (...signs: readonly Sign[]): Sign =>
  (of) =>
    signs.some((sign) => sign(of));

const isGke = runs('/home/kubernetes/bin/');
const isKubeadm = either(hasWord('$KUBELET_KUBEADM_ARGS'), ({ dropIns }) =>
  dropIns.includes('10-kubeadm.conf'),
);

/** The first one counts. */
const signs: readonly (readonly [PlatformName, Sign])[] = [
  ['bottlerocket', isOs('bottlerocket')],
  ['talos', isOs('talos')],
  [
    'openshift',
    either(
      isOs('rhcos', 'scos'),
      ({ osRelease }) => osRelease.has('OPENSHIFT_VERSION'),
      ({ has }) => has(markers.openshift),
    ),
  ],
  ['k3s', ({ unit }) => unit?.startsWith('k3s') ?? false],
  ['rke2', ({ unit }) => unit?.startsWith('rke2') ?? false],
  // The names of their machines are the one thing that tells these from other GKE nodes.
  ['gke-autopilot', both(isGke, ({ hostname }) => hostname.startsWith('gk3-'))],
  ['gke-cos', both(isGke, isOs('cos'))],
  ['gke-ubuntu', both(isGke, isOs('ubuntu'))],
  ['eks-al2023', hasWord('$NODEADM_KUBELET_ARGS')],
  [
    'eks-al2',
    both(
      isOs('amzn'),
      ({ osRelease }) => osRelease.get('VERSION_ID') === '2',
      ({ has }) => has(markers.eks),
    ),
  ],
  [
    'aks',
    both(
      hasWord('$KUBELET_FLAGS'),
      either(({ has }) => has(markers.aks), hasWord('$KUBELET_CONTAINERD_FLAGS')),
    ),
  ],
  ['kind', ({ has }) => has(markers.kind)],
  ['minikube', runs('/var/lib/minikube/')],
  ['kubeadm', isKubeadm],
];

export function platformOf(of: Signs): PlatformName {
  return signs.find(([, sign]) => sign(of))?.[0] ?? 'unknown';
}
