import { fileURLToPath } from 'node:url';
import { type DiskContent, nodeOfNodes, SystemdNode, type SystemdNodeOptions } from './systemd-node.js';
import { waitFor } from './wait-for.js';
import type { Workspace } from './workspace.js';

const standIn = fileURLToPath(new URL('kubelet-stand-in.mjs', import.meta.url));
const logFile = '/var/log/kubelet-stand-in.jsonl';
const manifests = '/etc/kubernetes/manifests';

/** What the stand-in noted. */
export interface KubeletNote {
  readonly event: string;
  readonly pid: number;
  readonly argv?: readonly string[];
  readonly name?: string;
  readonly pulled?: boolean;
  readonly through?: string;
  /** The credential provider whose credential was taken. */
  readonly by?: string;
  /** Of credential providers. */
  readonly names?: readonly string[];
  readonly error?: string;
}

/** A pod as the stand-in knows it: one container. */
export interface StandInPod {
  readonly image: string;
  /** Runs on the node, not in the image. */
  readonly command: readonly string[];
  /** It is not started again when it has ended. */
  readonly once?: boolean;
}

/** Platforms the end-to-end tests install on; all others are tables of files. */
export type KubeletPlatform = 'kubeadm' | 'gke-cos';

export interface KubeletNodeOptions extends SystemdNodeOptions {
  readonly platform?: KubeletPlatform;
  /** The runtime's socket, a path that the node has too. */
  readonly runtime: string;
}

/** A node of a cluster: systemd, and `kubelet.service` with the stand-in as the platform sets it up. */
export class KubeletNode {
  readonly node: SystemdNode;
  #pods = 0;

  private constructor(node: SystemdNode) {
    this.node = node;
  }

  /** Starts it, and waits until its kubelet is healthy. */
  static async start(workspace: Workspace, options: KubeletNodeOptions): Promise<KubeletNode> {
    const files = { ...platforms[options.platform ?? 'kubeadm'](options.runtime), ...options.files };
    const units = ['kubelet.service', ...(options.units ?? [])];
    const started = new KubeletNode(await SystemdNode.start(workspace, { ...options, files, units }));
    if (await started.isHealthy(30_000)) return started;
    throw new Error(`kubelet did not start:\n${await started.node.journal('kubelet.service')}`);
  }

  /** Its process now as systemd knows it. 0: none. */
  async mainPid(): Promise<number> {
    return Number(await this.node.systemctl('show', '--value', '--property=MainPID', 'kubelet.service'));
  }

  /** Of the process that runs now; none where none runs. */
  async commandLine(): Promise<readonly string[]> {
    const pid = await this.mainPid();
    if (pid === 0) return [];
    return this.node.read(`/proc/${pid}/cmdline`).split('\0').slice(0, -1);
  }

  /** The image endpoint of the process that runs now. */
  async imageEndpoint(): Promise<string | undefined> {
    const prefix = '--image-service-endpoint=';
    return (await this.commandLine()).findLast((word) => word.startsWith(prefix))?.slice(prefix.length);
  }

  /** Answers `ok` within so many milliseconds. */
  isHealthy(timeout: number): Promise<boolean> {
    const ask = `fetch('http://127.0.0.1:10248/healthz').then((a) => a.text()).then((t) => process.exit(t === 'ok' ? 0 : 1))`;
    return waitFor(async () => (await this.node.run(nodeOfNodes, ['-e', ask])).code === 0, timeout);
  }

  /** All it ever noted. */
  notes(): readonly KubeletNote[] {
    if (!this.node.exists(logFile)) return [];
    const lines = this.node.read(logFile).split('\n').filter(Boolean);
    return lines.map((line) => JSON.parse(line) as KubeletNote);
  }

  /** How often it was started. */
  starts(): number {
    return this.notes().filter(({ event }) => event === 'started').length;
  }

  setPod(name: string, pod: StandInPod): void {
    this.node.write(`${manifests}/${name}.json`, JSON.stringify(pod));
  }

  removePod(name: string): void {
    this.node.remove(`${manifests}/${name}.json`);
  }

  /**
   * Whether a pod that nobody saw before starts.
   *
   * @param timeout milliseconds
   * @returns what kubelet noted of it, or undefined
   */
  async startPod(image: string, timeout = 60_000): Promise<KubeletNote | undefined> {
    const name = `pod-${++this.#pods}`;
    this.setPod(name, { image, command: ['/bin/true'], once: true });
    const started = () =>
      this.notes().find((note) => note.event === 'started container' && note.name === name);
    await waitFor(() => started() !== undefined, timeout);
    this.removePod(name);
    return started();
  }

  /** The disk without what kubelet itself keeps there. */
  disk(): DiskContent {
    return new Map([...this.node.disk()].filter(([path]) => !path.startsWith(manifests)));
  }
}

/** `exec -a`: argv[0] is the program's own name, as the installer looks for it. */
const program = `#!/bin/bash\nexec -a "$0" ${nodeOfNodes} ${standIn} "$@"\n`;

// A pod's processes are not kubelet's: they stay when it is restarted.
const common = 'Restart=always\nRestartSec=1\nStartLimitInterval=0\nKillMode=process\n';

const platforms: Readonly<Record<KubeletPlatform, (runtime: string) => Record<string, string>>> = {
  kubeadm: (runtime) => ({
    '/usr/bin/kubelet': program,
    '/usr/lib/systemd/system/kubelet.service': `[Unit]
Description=kubelet: The Kubernetes Node Agent
Wants=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
${common}
[Install]
WantedBy=multi-user.target
`,
    '/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf': `# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`,
    '/var/lib/kubelet/kubeadm-flags.env': `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix://${runtime} --pod-infra-container-image=registry.k8s.io/pause:3.9"\n`,
    '/var/lib/kubelet/config.yaml':
      'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nhealthzBindAddress: 127.0.0.1\nhealthzPort: 10248\n',
    '/etc/default/kubelet': 'KUBELET_EXTRA_ARGS="--node-labels=example.com/pool=a,example.com/zone=b"\n',
    '/etc/kubernetes/kubelet.conf': 'apiVersion: v1\nkind: Config\n',
  }),
  // /etc is lost at reboot and made anew.
  'gke-cos': (runtime) => ({
    '/etc/os-release':
      'NAME="Container-Optimized OS"\nID=cos\nVERSION_ID=117\nPRETTY_NAME="Container-Optimized OS from Google"\n',
    '/home/kubernetes/bin/kubelet': program,
    '/home/kubernetes/kube-env': 'KUBERNETES_MASTER: "false"\n',
    '/etc/systemd/system/kubelet.service': `[Unit]
Description=Kubernetes kubelet
Requires=network-online.target
After=network-online.target

[Service]
${common}EnvironmentFile=/etc/default/kubelet
ExecStart=/home/kubernetes/bin/kubelet $KUBELET_OPTS

[Install]
WantedBy=multi-user.target
`,
    '/etc/default/kubelet': `KUBELET_OPTS="--v=2 --cloud-provider=external --config /home/kubernetes/kubelet-config.yaml --container-runtime-endpoint=unix://${runtime}"\n`,
    '/home/kubernetes/kubelet-config.yaml':
      'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nhealthzPort: 10248\n',
  }),
};
