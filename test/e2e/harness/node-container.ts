import { mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec';
import type { Volume } from 'kubernetes-models/v1/Volume';
import { succeeded } from './command.js';
import { nodeOfNodes, type SystemdNode } from './systemd-node.js';
import { waitFor } from './wait-for.js';

const script = fileURLToPath(new URL('node-container.sh', import.meta.url));
/** As the image has it. */
const program = '/opt/kubelet-image-service/bin/kubelet-image-service';

export interface NodeContainerOptions {
  readonly name: string;
  /** Of a pod as the manifests have it; its first container is started. */
  readonly pod: IPodSpec;
  /** Takes the place of the image's. */
  readonly executable: string;
  /** What projected volumes hold, instead of what the manifests name. */
  readonly files?: Readonly<Record<string, string>>;
  /** Behind those of the manifest. */
  readonly more?: readonly string[];
}

/**
 * A container on a node: root without any capability, in mount, process, network and IPC namespaces of its own, that sees
 * what its manifest mounts and nothing else. A unit of the node's systemd stands for the runtime.
 */
export class NodeContainer {
  readonly #node: SystemdNode;
  readonly #name: string;

  private constructor(node: SystemdNode, name: string) {
    this.#node = node;
    this.#name = name;
  }

  /** @throws an Error where systemd does not start it */
  static async start(node: SystemdNode, options: NodeContainerOptions): Promise<NodeContainer> {
    const { name, pod, executable, files = {}, more = [] } = options;
    const started = new NodeContainer(node, name);
    const { args = [], volumeMounts = [] } = pod.containers[0] ?? {};
    for (const volume of pod.volumes ?? []) await started.#make(volume as Volume, files);
    const mounts = volumeMounts.flatMap(({ name: volume, mountPath, readOnly }) => {
      const source = started.#sourceOf(pod, volume);
      return [readOnly === true ? 'ro' : 'rw', source, mountPath];
    });
    const namespaces = ['--mount', '--propagation=private', '--pid', '--net', '--ipc', '--uts'];
    const words = [
      ...['unshare', ...namespaces, '--fork', '--kill-child=SIGKILL', 'sh', script, nodeOfNodes],
      ...['ro', executable, program, ...mounts, '--', program, ...args, ...more],
    ];
    succeeded(await node.run('systemd-run', [`--unit=${name}`, '--service-type=exec', '--', ...words]));
    return started;
  }

  /** Where the node has what is in an `emptyDir` or a projected volume. */
  volume(name: string): string {
    return `/run/pods/${this.#name}/${name}`;
  }

  /** Changes a projected volume as kubelet does: the directory that its links lead to is another one at once. */
  project(volume: string, files: Readonly<Record<string, string>>): void {
    const node = this.#node;
    const at = (name: string) => `${this.volume(volume)}/${name}`;
    const version = `..${Date.now()}`;
    for (const [name, text] of Object.entries(files)) {
      node.write(at(`${version}/${name}`), text, 0o400);
      if (!node.exists(at('..data'))) symlinkSync(`..data/${name}`, node.path(at(name)));
    }
    symlinkSync(version, node.path(at('..data_tmp')));
    renameSync(node.path(at('..data_tmp')), node.path(at('..data')));
  }

  output(): Promise<string> {
    return this.#node.journal(`${this.#name}.service`);
  }

  /** SIGTERM to its process 1. @returns its exit code, undefined where it does not end */
  async stop(timeout = 20_000): Promise<number | undefined> {
    const unit = `${this.#name}.service`;
    const { stdout } = await this.#node.run('cat', [`/sys/fs/cgroup/system.slice/${unit}/cgroup.procs`]);
    const isFirst = (pid: string) => /^NSpid:\s+\d+\s+1$/m.test(this.#node.read(`/proc/${pid}/status`));
    const first = stdout.trim().split('\n').find(isFirst);
    if (first === undefined) throw new Error(`${unit} does not run:\n${await this.output()}`);
    succeeded(await this.#node.run('kill', ['-TERM', first]));
    const show = (property: string) =>
      this.#node.systemctl('show', '--value', `--property=${property}`, unit);
    // One that ended well is forgotten by systemd.
    const hasEnded = async () => /^(inactive|failed)$/.test(await show('ActiveState'));
    return (await waitFor(hasEnded, timeout)) ? Number(await show('ExecMainStatus')) : undefined;
  }

  async #make(volume: Volume, files: Readonly<Record<string, string>>): Promise<void> {
    const { name, hostPath, projected } = volume;
    if (hostPath?.type === 'DirectoryOrCreate')
      mkdirSync(this.#node.path(hostPath.path), { recursive: true });
    else if (hostPath !== undefined) {
      if (!this.#node.exists(hostPath.path)) throw new Error(`${hostPath.path} is not there: no pod starts`);
    } else {
      rmSync(this.#node.path(this.volume(name)), { recursive: true, force: true });
      mkdirSync(this.#node.path(this.volume(name)), { recursive: true });
      if (projected !== undefined) this.project(name, files);
    }
  }

  #sourceOf({ volumes = [] }: IPodSpec, name: string): string {
    const volume = volumes.find((one) => one.name === name);
    if (volume === undefined) throw new Error(`no volume ${name}`);
    return volume.hostPath?.path ?? this.volume(name);
  }
}
