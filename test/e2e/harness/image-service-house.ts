import { CriClient } from './cri-client.js';
import { type CriContainerd, startCriContainerd } from './cri-containerd.js';
import { configurationOf, imageWithUser, putImage } from './cri-images.js';
import { type Dockerd, startDockerd } from './dockerd.js';
import { type Front, type FrontOptions, startFront } from './front.js';
import { type ImageServiceOptions, type RunningImageService, startImageService } from './image-service.js';
import type { Workspace } from './workspace.js';

/** A node of a cluster: a container runtime with our image service in front of it. */
export interface TestNode {
  /** The type of its `runtime`. */
  readonly kind: 'cri' | 'docker';
  readonly service: RunningImageService;
  readonly client: CriClient;
}

/** An image that no other test knows, in a registry behind our own proxy. */
export interface HouseImage {
  /** `127.0.0.1:PORT/open/NAME`. */
  readonly name: string;
  /** With the first of its tags. */
  readonly tagged: string;
  /** By its manifest. */
  readonly pinned: string;
  /** Of its configuration: what both runtimes know it by. */
  readonly id: string;
}

export interface ImageOptions {
  readonly tags?: readonly string[];
  /** As a Dockerfile's USER has it. */
  readonly user?: string;
}

/** Nodes of both runtimes, and a registry behind our proxy that knows nobody without credentials. */
export interface House {
  readonly front: Front;
  readonly containerd: CriContainerd;
  readonly dockerd: Dockerd;
  /** Past our service. */
  readonly direct: CriClient;
  readonly nodes: readonly TestNode[];
  /** Puts one to `open/NAME`. */
  put(name: string, o?: ImageOptions): Promise<HouseImage>;
}

export interface HouseOptions {
  readonly front?: FrontOptions;
  readonly service?: Pick<ImageServiceOptions, 'env'>;
  /** The configuration of both services but for `listen` and `runtime`. Their directory is named after the kind. */
  configure(front: Front): object;
}

export async function startHouse(workspace: Workspace, options: HouseOptions): Promise<House> {
  const [front, containerd, dockerd] = await Promise.all([
    startFront(workspace, options.front),
    startCriContainerd(workspace),
    startDockerd(workspace),
  ]);
  const runtimes = { cri: containerd.socket, docker: dockerd.socket };
  const kinds = ['cri', 'docker'] as const;
  for (const kind of kinds) workspace.file(`${kind}-node/alice-password`, front.passwords.alice);
  const nodes = kinds.map(async (kind): Promise<TestNode> => {
    const runtime = { type: kind, endpoint: `unix://${runtimes[kind]}` };
    const settings = { runtime, ...options.configure(front) };
    const service = await startImageService(workspace, settings, {
      ...options.service,
      name: `${kind}-node`,
    });
    return { kind, service, client: new CriClient(workspace, service.socket) };
  });
  return {
    ...{ front, containerd, dockerd },
    direct: new CriClient(workspace, containerd.socket),
    nodes: await Promise.all(nodes),
    put: (name, o) => putAt(front, name, o),
  };
}

/** What the registry is shown as alice: for `credentials` of a rule. */
export const asAlice = { type: 'static', username: 'alice', password: { file: 'alice-password' } } as const;

async function putAt(
  { open, proxy }: Front,
  name: string,
  { tags = ['1'], user }: ImageOptions = {},
): Promise<HouseImage> {
  const image = imageWithUser(`${name}\n`, user);
  await putImage({ url: open.url }, `team/${name}`, tags, image);
  const at = `${proxy.host}/open/${name}`;
  return {
    name: at,
    tagged: `${at}:${tags[0]}`,
    pinned: `${at}@${image.root.digest}`,
    id: configurationOf(image).digest,
  };
}
