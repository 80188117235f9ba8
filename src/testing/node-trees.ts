/** A file's text, or a link to /dev/null. */
export type NodeTree = Readonly<Record<string, string | { readonly link: '/dev/null' }>>;

/** What `systemctl mask` makes. */
export const maskedUnit = { link: '/dev/null' } as const;

const osRelease = (fields: Readonly<Record<string, string>>) =>
  `${Object.entries(fields)
    .map(([key, value]) => `${key}="${value}"`)
    .join('\n')}\n`;

const cos = osRelease({ NAME: 'Container-Optimized OS', ID: 'cos', VERSION_ID: '117' });
const ubuntu = osRelease({ NAME: 'Ubuntu', ID: 'ubuntu', ID_LIKE: 'debian', VERSION_ID: '22.04' });
const debian = osRelease({ NAME: 'Debian GNU/Linux', ID: 'debian', VERSION_ID: '12' });
const os = (ID: string, VERSION_ID: string, more: Readonly<Record<string, string>> = {}) =>
  osRelease({ ID, VERSION_ID, PRETTY_NAME: `${ID} ${VERSION_ID}`, ...more });

const process = (pid: number, argv: readonly string[]): NodeTree => ({
  [`/proc/${pid}/comm`]: `${(argv[0] ?? '').split('/').at(-1)?.slice(0, 15)}\n`,
  [`/proc/${pid}/cmdline`]: `${argv.join('\0')}\0`,
});

const others: NodeTree = { ...process(1, ['/sbin/init']), ...process(7, ['']), '/proc/version': 'Linux\n' };

const kubeletConfig = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';

const gkeFlags = [
  '--v=2',
  '--cloud-provider=external',
  '--config=/home/kubernetes/kubelet-config.yaml',
  '--image-credential-provider-config=/home/kubernetes/cri-auth-config.yaml',
  '--image-credential-provider-bin-dir=/home/kubernetes/bin',
];

const gke: NodeTree = {
  ...others,
  '/etc/hostname': 'gke-one-default-pool-0a1b2c3d-x7f2\n',
  '/etc/systemd/system/kubelet.service': `[Unit]
Description=Kubernetes kubelet
Requires=network-online.target
After=network-online.target

[Service]
Restart=always
RestartSec=10
EnvironmentFile=/etc/default/kubelet
ExecStart=/home/kubernetes/bin/kubelet $KUBELET_OPTS

[Install]
WantedBy=multi-user.target
`,
  '/etc/default/kubelet': `KUBELET_OPTS="${gkeFlags.join(' ')}"\n`,
  '/home/kubernetes/kubelet-config.yaml': `${kubeletConfig}containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n`,
  '/home/kubernetes/cri-auth-config.yaml':
    'apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders: []\n',
  ...process(1204, ['/home/kubernetes/bin/kubelet', ...gkeFlags]),
};

const eksFlags = [
  '--config=/etc/kubernetes/kubelet/config.json',
  '--config-dir=/etc/kubernetes/kubelet/config.json.d',
  '--hostname-override=ip-10-0-0-9.ec2.internal',
  '--image-credential-provider-config=/etc/eks/image-credential-provider/config.json',
  '--image-credential-provider-bin-dir=/etc/eks/image-credential-provider',
];

const eksUnit = `[Unit]
Description=Kubernetes Kubelet
After=containerd.service
Wants=containerd.service

[Service]
Slice=runtime.slice
EnvironmentFile=/etc/eks/kubelet/environment
ExecStartPre=/sbin/iptables -P FORWARD ACCEPT -w 5
ExecStart=/usr/bin/kubelet $NODEADM_KUBELET_ARGS
Restart=on-failure
KillMode=process

[Install]
WantedBy=multi-user.target
`;

const eks: NodeTree = {
  ...others,
  '/etc/os-release': os('amzn', '2023'),
  '/etc/systemd/system/kubelet.service': eksUnit,
  '/etc/eks/kubelet/environment': `NODEADM_KUBELET_ARGS="${eksFlags.join(' ')}"\n`,
  '/etc/kubernetes/kubelet/config.json': JSON.stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
  }),
  ...process(2210, ['/usr/bin/kubelet', ...eksFlags]),
};

const eksAl2: NodeTree = {
  ...others,
  '/etc/os-release': os('amzn', '2', { PRETTY_NAME: 'Amazon Linux 2' }),
  '/etc/eks/bootstrap.sh': '#!/bin/sh\n',
  '/etc/systemd/system/kubelet.service': `[Service]
ExecStart=/usr/bin/kubelet --cloud-provider aws \\
    --config /etc/kubernetes/kubelet/kubelet-config.json \\
    --kubeconfig /var/lib/kubelet/kubeconfig \\
    $KUBELET_ARGS $KUBELET_EXTRA_ARGS
`,
  '/etc/systemd/system/kubelet.service.d/30-kubelet-extra-args.conf': `[Service]
Environment='KUBELET_EXTRA_ARGS=--max-pods=17'
`,
};

/** As these have it: one more space behind the last word, and quotes within one. */
const aksUnit = `[Unit]
Description=Kubelet
ConditionPathExists=/usr/local/bin/kubelet

[Service]
Restart=always
EnvironmentFile=/etc/default/kubelet
SuccessExitStatus=143
ExecStartPre=/bin/bash -c "if [ $(mount | grep \\"/var/lib/kubelet\\" | wc -l) -le 0 ] ; then /bin/mount --bind /var/lib/kubelet /var/lib/kubelet ; fi"
ExecStart=/usr/local/bin/kubelet \\
        --enable-server \\
        --node-labels="\${KUBELET_NODE_LABELS}" \\
        --v=2 \\
        --volume-plugin-dir=/etc/kubernetes/volumeplugins \\
        $KUBELET_TLS_BOOTSTRAP_FLAGS \\
        $KUBELET_CONFIG_FILE_FLAGS \\
        $KUBELET_CONTAINERD_FLAGS \\
        $KUBELET_FLAGS${' '}

[Install]
WantedBy=multi-user.target
`;

const aks: NodeTree = {
  ...others,
  '/etc/os-release': ubuntu,
  '/opt/azure/containers/provision.sh': '#!/bin/bash\n',
  '/etc/systemd/system/kubelet.service': aksUnit,
  '/etc/systemd/system/kubelet.service.d/10-containerd-base-flag.conf': `[Service]
Environment=KUBELET_CONTAINERD_FLAGS="--runtime-request-timeout=15m --container-runtime-endpoint=unix:///run/containerd/containerd.sock"
`,
  '/etc/default/kubelet': `KUBELET_FLAGS=--eviction-hard=memory.available<750Mi --image-credential-provider-config=/var/lib/kubelet/credential-provider-config.yaml --image-credential-provider-bin-dir=/var/lib/kubelet/credential-provider
KUBELET_NODE_LABELS=agentpool=one
`,
};

const kubeadmWords =
  '/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS';

const kubeadmDropIn = `# Only for kubeadm.
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=${kubeadmWords}
`;

const kubeadm: NodeTree = {
  ...others,
  '/etc/os-release': debian,
  '/usr/lib/systemd/system/kubelet.service': `[Unit]
Description=kubelet: The Kubernetes Node Agent

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10
`,
  '/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf': kubeadmDropIn,
  '/var/lib/kubelet/kubeadm-flags.env':
    'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///var/run/containerd/containerd.sock"\n',
  '/var/lib/kubelet/config.yaml': kubeletConfig,
  ...process(880, [
    '/usr/bin/kubelet',
    '--kubeconfig=/etc/kubernetes/kubelet.conf',
    '--config=/var/lib/kubelet/config.yaml',
    '--container-runtime-endpoint=unix:///var/run/containerd/containerd.sock',
  ]),
};

const kind: NodeTree = {
  ...others,
  '/etc/os-release': debian,
  '/kind/version': 'v1.34.0',
  '/etc/systemd/system/kubelet.service': `[Unit]
ConditionPathExists=/var/lib/kubelet/config.yaml

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
RestartSec=1s
`,
  '/etc/systemd/system/kubelet.service.d/10-kubeadm.conf': kubeadmDropIn.replace(
    '$KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS',
    '$KUBELET_EXTRA_ARGS $KUBELET_KUBEADM_ARGS',
  ),
  '/etc/systemd/system/kubelet.service.d/11-kind.conf': `[Service]
ExecStartPre=/bin/sh -euc "if [ -f /sys/fs/cgroup/cgroup.controllers ]; then /kind/bin/create-kubelet-cgroup-v2.sh; fi"
`,
  '/etc/default/kubelet': 'KUBELET_EXTRA_ARGS=--runtime-cgroups=/system.slice/containerd.service\n',
  '/var/lib/kubelet/config.yaml': kubeletConfig,
};

const minikube: NodeTree = {
  ...others,
  '/etc/os-release': os('buildroot', '2025.02'),
  '/lib/systemd/system/kubelet.service': '[Service]\nExecStart=/var/lib/minikube/binaries/v1.33.1/kubelet\n',
  '/etc/systemd/system/kubelet.service.d/10-kubeadm.conf': `[Unit]
Wants=containerd.service

[Service]
ExecStart=
ExecStart=/var/lib/minikube/binaries/v1.33.1/kubelet --config=/var/lib/kubelet/config.yaml --hostname-override=minikube --kubeconfig=/etc/kubernetes/kubelet.conf --node-ip=192.168.49.2

[Install]
`,
  '/var/lib/kubelet/config.yaml': `${kubeletConfig}containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n`,
  ...process(1733, ['/var/lib/minikube/binaries/v1.33.1/kubelet', '--config=/var/lib/kubelet/config.yaml']),
};

/** Its last line is continued by an empty one. */
const k3sUnit = (role: 'server' | 'agent') => `[Unit]
Description=Lightweight Kubernetes

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/systemd/system/k3s.service.env
KillMode=process
Delegate=yes
Restart=always
ExecStartPre=/bin/sh -xc '! /usr/bin/systemctl is-enabled --quiet nm-cloud-setup.service'
ExecStart=/usr/local/bin/k3s \\
    ${role} \\

`;

const k3s: NodeTree = {
  ...others,
  '/etc/os-release': debian,
  '/etc/systemd/system/k3s.service': k3sUnit('server'),
  '/etc/systemd/system/k3s.service.env': 'K3S_TOKEN=not-for-anybody\n',
  ...process(950, ['/usr/local/bin/k3s server']),
};

const k3sAgent: NodeTree = {
  ...others,
  '/etc/os-release': debian,
  '/etc/systemd/system/k3s-agent.service': k3sUnit('agent'),
  '/var/lib/rancher/credentialprovider/config.yaml': 'kind: CredentialProviderConfig\n',
  '/var/lib/rancher/credentialprovider/bin/one': '',
  ...process(951, ['/usr/local/bin/k3s agent']),
};

const rke2Unit = (role: 'server' | 'agent') =>
  `[Service]\nType=notify\nEnvironmentFile=-/etc/sysconfig/%N\nExecStart=/usr/local/bin/rke2 ${role}\n`;

/** Both units come with it. */
const rke2: NodeTree = {
  ...others,
  '/etc/os-release': os('sles', '15.6'),
  '/usr/local/lib/systemd/system/rke2-server.service': rke2Unit('server'),
  '/usr/local/lib/systemd/system/rke2-agent.service': rke2Unit('agent'),
  ...process(1010, ['/usr/local/bin/rke2 server']),
  ...process(1033, ['kubelet', '--container-runtime-endpoint=unix:///run/k3s/containerd/containerd.sock']),
};

const openshift: NodeTree = {
  ...others,
  '/etc/os-release': os('rhcos', '4.17', { OPENSHIFT_VERSION: '4.17' }),
  '/etc/systemd/system/kubelet.service':
    '[Service]\nEnvironmentFile=/etc/os-release\nExecStart=/usr/local/bin/kubenswrapper \\\n    /usr/bin/kubelet \\\n      --config=/etc/kubernetes/kubelet.conf\n',
};

const bottlerocket: NodeTree = {
  ...others,
  '/etc/os-release': os('bottlerocket', '1.26.0'),
  '/usr/lib/systemd/system/kubelet.service': '[Service]\nExecStart=/usr/bin/kubelet --cloud-provider ""\n',
};

const unknown: NodeTree = {
  ...others,
  '/etc/os-release': debian,
  '/etc/systemd/system/kubelet.service':
    '[Service]\nExecStart=/usr/local/bin/kubelet --config=/etc/kubelet.yaml\n',
};

/** What a node has of what the installer looks at, by platform; made from what those platforms say of themselves. */
export const nodeTrees = {
  'gke-cos': { ...gke, '/etc/os-release': cos },
  'gke-ubuntu': { ...gke, '/etc/os-release': ubuntu },
  'gke-autopilot': { ...gke, '/etc/os-release': cos, '/etc/hostname': 'gk3-one-pool-1-bcd71fbe-6qh9\n' },
  'eks-al2023': eks,
  'eks-al2': eksAl2,
  aks,
  kubeadm,
  kind,
  minikube,
  k3s,
  'k3s-agent': k3sAgent,
  rke2,
  openshift,
  bottlerocket,
  talos: { '/etc/os-release': os('talos', 'v1.9.0') },
  unknown,
} as const satisfies Readonly<Record<string, NodeTree>>;
