import { chmodSync } from 'node:fs';
import type { CommandResult } from './command.js';
import { type CriContainerd, startCriContainerd } from './cri-containerd.js';
import { imageWithUser, putImage } from './cri-images.js';
import { type DockerRegistry, startDockerRegistry } from './docker-registry.js';
import { KubeletNode, type KubeletNodeOptions } from './kubelet-node.js';
import { type DiskContent, nodeOfNodes } from './systemd-node.js';
import { waitFor } from './wait-for.js';
import type { Workspace } from './workspace.js';

export const imageSocket = '/run/kubelet-image-service/image.sock';
export const imageEndpoint = `unix://${imageSocket}`;
export const dropIn = '/etc/systemd/system/kubelet.service.d/90-kubelet-image-service.conf';

/** What the nodes of one test share: a runtime, a registry that knows nobody without credentials, our executable. */
export interface NodeSurroundings {
  readonly workspace: Workspace;
  readonly containerd: CriContainerd;
  readonly registry: DockerRegistry;
  /** `kubelet-image-service`, that needs nothing but the Node.js of nodes. */
  readonly executable: string;
  /** A configuration that has the registry's password beside it. */
  readonly config: string;
  /** An image that nobody else knows. @param kind `open`: the runtime can pull it without us */
  newImage(kind: 'open' | 'private'): Promise<string>;
}

const password = 'k3pt-in-the-house';

/**
 * @param prelude runs in our executable before anything else
 * @param built is taken as our executable
 */
export async function startSurroundings(
  workspace: Workspace,
  prelude = '',
  built?: string,
): Promise<NodeSurroundings> {
  const [containerd, registry, open, executable] = await Promise.all([
    startCriContainerd(workspace),
    startDockerRegistry(workspace, { kind: 'htpasswd', users: { alice: password } }),
    startDockerRegistry(workspace),
    built ?? bundledExecutable(workspace, prelude),
  ]);
  const credentials = { type: 'static', username: 'alice', password: { file: 'alice-password' } };
  const settings = {
    listen: imageEndpoint,
    runtime: { type: 'cri', endpoint: `unix://${containerd.socket}` },
    images: [{ match: `${registry.host}/**`, credentials }],
  };
  workspace.file('configuration/alice-password', password);
  let images = 0;
  return {
    ...{ workspace, containerd, registry, executable },
    config: workspace.file('configuration/config.yaml', JSON.stringify(settings, undefined, 2)), // JSON is YAML
    newImage: async (kind) => {
      const name = `team/image-${++images}`;
      const { url, host } = kind === 'open' ? open : registry;
      const store = { url, ...(kind === 'private' && { credentials: `alice:${password}` }) };
      await putImage(store, name, ['1'], imageWithUser(name));
      return `${host}/${name}:1`;
    },
  };
}

/** What the self-contained executable has in it, run by the Node.js of nodes. @returns its path */
async function bundledExecutable(workspace: Workspace, prelude: string): Promise<string> {
  // @ts-expect-error: a script of ours, without types
  const { bundle } = (await import('../../../scripts/executable/bundle.mjs')) as {
    bundle(commit: string): Promise<string>;
  };
  const text = (await bundle('0000000')).replace(/^#!.*\n/, '');
  const path = workspace.file('bin/kubelet-image-service', `#!${nodeOfNodes}\n${prelude}\n${text}`);
  chmodSync(path, 0o755);
  return path;
}

/** A node with commands of ours. */
export class InstalledNode {
  readonly kubelet: KubeletNode;
  readonly #around: NodeSurroundings;

  private constructor(kubelet: KubeletNode, around: NodeSurroundings) {
    this.kubelet = kubelet;
    this.#around = around;
  }

  /** Nothing is installed yet. Its runtime is the containerd of all nodes where nothing else is said. */
  static async start(around: NodeSurroundings, options: Partial<KubeletNodeOptions>): Promise<InstalledNode> {
    const runtime = around.containerd.socket;
    return new InstalledNode(await KubeletNode.start(around.workspace, { runtime, ...options }), around);
  }

  get node() {
    return this.kubelet.node;
  }

  /** `kubelet-image-service COMMAND …` as root of the node. */
  ours(...args: readonly string[]): Promise<CommandResult> {
    return this.node.run(this.#around.executable, args, { timeout: 300_000 });
  }

  install(...more: readonly string[]): Promise<CommandResult> {
    const { config, executable } = this.#around;
    return this.ours('install', '--config', config, '--executable', executable, ...more);
  }

  uninstall(): Promise<CommandResult> {
    return this.ours('uninstall', '--executable', this.#around.executable);
  }

  /** @throws an Error with all that is known where it is not installed */
  async installed(...more: readonly string[]): Promise<CommandResult> {
    const result = await this.install(...more);
    if (result.code === 0) return result;
    throw new Error(`${result.output}\n${await this.said()}`);
  }

  /** The disk without what tells of runs: when, and how they ended. */
  disk(): DiskContent {
    const runs = /\/kubelet-image-service\/(result|journal)\.json$/;
    return new Map([...this.kubelet.disk()].filter(([path]) => !runs.test(path)));
  }

  /** What the units of this node wrote. */
  async said(): Promise<string> {
    const units = [
      'kubelet-image-service-install',
      'kubelet-image-service',
      'kubelet-image-service-rollback',
    ];
    return (await Promise.all(units.map((unit) => this.node.journal(`${unit}.service`)))).join('\n');
  }

  /**
   * The pod of pod mode, with an image that the runtime can pull without us.
   *
   * @returns when its endpoint answers. @throws an Error where it does not
   */
  async startServicePod(name = 'image-service'): Promise<void> {
    const { executable, config } = this.#around;
    const command = [executable, 'serve', '--replace', '--config', config];
    const image = await this.#around.newImage('open');
    this.kubelet.setPod(name, { image, command });
    const isStarted = () =>
      this.kubelet.notes().some((note) => note.event === 'started container' && note.name === name);
    if (!(await waitFor(isStarted, 30_000))) throw new Error(`the pod ${name} was not started`);
    if (!(await waitFor(() => this.answers(), 30_000)))
      throw new Error('the endpoint of the pod does not answer');
  }

  async answers(): Promise<boolean> {
    const probe = await this.ours('probe', '--endpoint', imageEndpoint, '--timeout', '2s');
    return probe.code === 0;
  }

  /** @param timeout milliseconds */
  becomes(endpoint: string | undefined, timeout: number): Promise<boolean> {
    const isSo = async () =>
      (await this.kubelet.imageEndpoint()) === endpoint && (await this.kubelet.mainPid()) > 0;
    return waitFor(isSo, timeout);
  }
}
