import { connect } from 'node:net';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type CallOptions, type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import {
  type AuthConfigSchema,
  type FilesystemUsage,
  type Image,
  ImageService,
  type ImageStatusResponse,
} from '../../../src/grpc/cri/runtime_pb.js';
import type { Workspace } from './workspace.js';

/** Who is served, as kubelet tells it with a pull. */
export interface AskedPull {
  readonly auth?: MessageInitShape<typeof AuthConfigSchema>;
  readonly pod?: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Speaks to an image service as kubelet does, but for its deadlines. All methods throw ConnectError. */
export class CriClient {
  readonly #service: Client<typeof ImageService>;

  /** @param socket a path. Connects with the first call; the workspace closes it. */
  constructor(workspace: Workspace, socket: string) {
    const nodeOptions = { createConnection: () => connect(socket) };
    const baseUrl = 'http://localhost';
    const sessionManager = new Http2SessionManager(baseUrl, {}, nodeOptions);
    workspace.onClose(() => sessionManager.abort());
    const readMaxBytes = 16 * 1024 * 1024;
    this.#service = createClient(
      ImageService,
      createGrpcTransport({ baseUrl, sessionManager, readMaxBytes }),
    );
  }

  /** @param image a filter: a reference, a digest or an id */
  async list(image?: string): Promise<readonly Image[]> {
    const filter = image === undefined ? {} : { filter: { image: { image } } };
    return (await this.#service.listImages(filter)).images;
  }

  /** @returns undefined where there is none */
  async status(image: string): Promise<Image | undefined> {
    return (await this.#service.imageStatus({ image: { image } })).image;
  }

  verboseStatus(image: string): Promise<ImageStatusResponse> {
    return this.#service.imageStatus({ image: { image }, verbose: true });
  }

  /** @returns the image's id */
  async pull(
    image: string,
    { auth, pod, annotations = {} }: AskedPull = {},
    o: CallOptions = {},
  ): Promise<string> {
    const request = {
      image: { image, annotations },
      ...(auth && { auth }),
      ...(pod && { sandboxConfig: { metadata: pod } }),
    };
    return (await this.#service.pullImage(request, o)).imageRef;
  }

  async remove(image: string): Promise<void> {
    await this.#service.removeImage({ image: { image } });
  }

  async fsInfo(): Promise<readonly FilesystemUsage[]> {
    return (await this.#service.imageFsInfo({})).imageFilesystems;
  }
}
