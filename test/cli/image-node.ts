import { mkdtempSync, rmSync } from 'node:fs';
import type { ServerHttp2Stream } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  ImageFsInfoResponseSchema,
  type PullImageRequest,
  PullImageRequestSchema,
  PullImageResponseSchema,
} from '../../src/grpc/cri/runtime_pb.js';
import { frame, framePrefix } from '../../src/grpc/frames.js';
import { type CriCall, FakeCriRuntime } from '../../src/testing/fake-cri-runtime.js';
import { RawGrpcClient } from '../../src/testing/raw-grpc-client.js';
import { overwrite, type Scope } from '../harness/index.js';

const filesystem = { fsId: { mountpoint: '/var/lib/images' }, usedBytes: { value: 42n } };

/** A directory with a container runtime that pulls what it is asked for, and a configuration for our program. */
export class ImageNode {
  readonly directory = mkdtempSync(join(tmpdir(), 'drp-node-'));
  readonly runtime: FakeCriRuntime;
  /** What PullImage was asked, the last one last. */
  readonly pulls: PullImageRequest[] = [];
  fsInfo: MessageInitShape<typeof ImageFsInfoResponseSchema> = { imageFilesystems: [filesystem] };
  /** What pulls are answered with, where there is one; UNIMPLEMENTED: all calls. */
  failure: { readonly status: number; readonly message: string } | undefined;
  /** Pulls do not end while it is pending. */
  gate: Promise<void> = Promise.resolve();
  #file = join(this.directory, 'config.yaml');

  private constructor() {
    this.runtime = new FakeCriRuntime((call, whole) => whole.then(() => this.#answer(call)));
  }

  /** @param isThere whether the runtime listens already */
  static async open(scope: Scope, isThere = true): Promise<ImageNode> {
    const node = new ImageNode();
    scope.after(async () => {
      await node.runtime.close();
      rmSync(node.directory, { recursive: true, force: true });
    });
    if (isThere) await node.runtime.listen();
    return node;
  }

  get socket(): string {
    return join(this.directory, 'run', 'image.sock');
  }
  get adminSocket(): string {
    return join(this.directory, 'run', 'admin.sock');
  }

  /** Writes the configuration. @param settings in YAML, each on one line. @returns the file */
  configure(settings: Readonly<Record<string, string>> = {}): string {
    const all = {
      listen: `unix://${this.socket}`,
      runtime: `{ type: cri, endpoint: "unix://${this.runtime.path}" }`,
      drainTimeout: '10s', // also of a test that fails with a pull under way
      ...settings,
    };
    const lines = Object.entries(all).map(([name, text]) => `${name}: ${text}\n`);
    overwrite(this.#file, lines.join(''), 'renamed');
    return this.#file;
  }

  write(name: string, text: string): void {
    overwrite(join(this.directory, name), text, 'renamed');
  }

  /** Makes pulls wait. @returns lets them go on */
  hold(): () => void {
    let release = () => {};
    this.gate = new Promise((resolve) => {
      release = resolve;
    });
    return () => {
      this.gate = Promise.resolve();
      release();
    };
  }

  /** Pulls an image as kubelet does, over a connection of its own. @returns the gRPC status; -1 where there was none */
  async pull(image: string, namespace = 'shop'): Promise<number> {
    const client = new RawGrpcClient(this.socket);
    const metadata = { name: 'web-0', uid: 'u-1', namespace };
    const request = create(PullImageRequestSchema, { image: { image }, sandboxConfig: { metadata } });
    try {
      const bytes = frame(toBinary(PullImageRequestSchema, request));
      const { headers, trailers } = await client.call('/runtime.v1.ImageService/PullImage', bytes);
      const all = [...headers, ...trailers];
      return all.includes('grpc-status') ? Number(all[all.indexOf('grpc-status') + 1]) : -1;
    } finally {
      await client.close();
    }
  }

  async #answer({ path, body, stream }: CriCall): Promise<void> {
    if (path.endsWith('/PullImage')) {
      this.pulls.push(fromBinary(PullImageRequestSchema, body.subarray(framePrefix)));
      await this.gate;
      if (this.failure) return failWith(stream, this.failure);
      const pulled = create(PullImageResponseSchema, { imageRef: 'sha256:1' });
      return answerWith(stream, toBinary(PullImageResponseSchema, pulled));
    }
    if (this.failure?.status === 12) return failWith(stream, this.failure);
    const found = create(ImageFsInfoResponseSchema, this.fsInfo);
    answerWith(stream, toBinary(ImageFsInfoResponseSchema, found));
  }
}

function failWith(stream: ServerHttp2Stream, { status, message }: NonNullable<ImageNode['failure']>): void {
  if (stream.destroyed) return;
  const trailers = { 'grpc-status': String(status), 'grpc-message': encodeURIComponent(message) };
  stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...trailers }, { endStream: true });
}

function answerWith(stream: ServerHttp2Stream, message: Uint8Array): void {
  if (stream.destroyed) return;
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(frame(message));
}
