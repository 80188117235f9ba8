import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  ImageFsInfoRequestSchema,
  ImageFsInfoResponseSchema,
  ImageStatusRequestSchema,
  ImageStatusResponseSchema,
  PullImageRequestSchema,
  PullImageResponseSchema,
} from '../src/grpc/cri/runtime_pb.js';

// What kubelet asks of an image service, what the runtime of the benchmark answers, and a client without any library.

export type Method = 'ImageFsInfo' | 'ImageStatus' | 'PullImage';

/** Stands in the rule, and nowhere else. */
export const secret = 'a password of the benchmark';
export const registry = 'registry.bench.example';

const image = { image: `${registry}/team/app:1.2` };
const id = `sha256:${'a'.repeat(64)}`;
/** What the runtime answers where it was shown the credential. */
const shown = `sha256:${'b'.repeat(64)}`;
const metadata = {
  name: 'app-7d4b9c6f5-x2v8p',
  namespace: 'shop',
  uid: '8a7b1c2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d',
};
const usage = {
  timestamp: 1_800_000_000_000_000_000n,
  fsId: { mountpoint: '/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs' },
  usedBytes: { value: 12_345_678_901n },
  inodesUsed: { value: 234_567n },
};
const found = {
  id,
  repoTags: [image.image],
  repoDigests: [`${registry}/team/app@sha256:${'c'.repeat(64)}`],
  size: 87_654_321n,
  username: 'app',
};

const requests: Readonly<Record<Method, Buffer>> = {
  ImageFsInfo: framed(ImageFsInfoRequestSchema, {}),
  ImageStatus: framed(ImageStatusRequestSchema, { image }),
  PullImage: framed(PullImageRequestSchema, { image, sandboxConfig: { metadata } }),
};

const base64 = (bytes: Buffer) => bytes.toString('base64');
const pathOf = (method: Method) => `/runtime.v1.ImageService/${method}`;

/** The variable of the runtime's process that says what it answers. */
export const answers = JSON.stringify({
  secret,
  answers: {
    [pathOf('ImageFsInfo')]: base64(
      framed(ImageFsInfoResponseSchema, { imageFilesystems: [usage], containerFilesystems: [usage] }),
    ),
    [pathOf('ImageStatus')]: base64(framed(ImageStatusResponseSchema, { image: found })),
    [pathOf('PullImage')]: base64(framed(PullImageResponseSchema, { imageRef: id })),
    [`${pathOf('PullImage')} with the credential`]: base64(
      framed(PullImageResponseSchema, { imageRef: shown }),
    ),
  },
});

/** gRPC's Length-Prefixed-Message, not compressed. */
function framed<Schema extends DescMessage>(schema: Schema, message: MessageInitShape<Schema>): Buffer {
  const bytes = toBinary(schema, create(schema, message));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** One connection, as kubelet has it. */
export class CallClient {
  readonly #session: ClientHttp2Session;

  private constructor(session: ClientHttp2Session) {
    this.#session = session;
  }

  /** @throws where nobody listens */
  static async connect(path: string): Promise<CallClient> {
    const socket = createConnection(path);
    await once(socket, 'connect');
    const session = connect('http://localhost', { createConnection: () => socket });
    session.on('error', () => {});
    return new CallClient(session);
  }

  /** @returns the answer as it came. @throws where it is none, or not OK */
  async call(method: Method): Promise<Buffer> {
    const stream = this.#session.request({
      ...{ ':method': 'POST', ':path': pathOf(method), te: 'trailers' },
      ...{ 'content-type': 'application/grpc', 'user-agent': 'grpc-go/1.72.1' },
    });
    let status: unknown;
    const pieces: Buffer[] = [];
    for (const event of ['response', 'trailers'] as const) {
      stream.on(event, (headers) => {
        status ??= headers['grpc-status'];
      });
    }
    stream.on('data', (piece: Buffer) => pieces.push(piece));
    stream.end(requests[method]);
    await once(stream, 'close');
    if (status !== '0') throw new Error(`${method} ended with status ${status}`);
    return Buffer.concat(pieces);
  }

  /** One after the other, as kubelet does. */
  async repeat(method: Method, times: number): Promise<void> {
    for (let i = 0; i < times; i++) await this.call(method);
  }

  async wasShownTheCredential(): Promise<boolean> {
    return (await this.call('PullImage')).includes(shown);
  }

  close(): void {
    this.#session.destroy();
  }
}

/** Asks again and again until it is answered. @throws where that takes longer than a minute */
export async function firstAnswer(path: string): Promise<CallClient> {
  const until = performance.now() + 60_000;
  for (;;) {
    const client = await CallClient.connect(path).catch(() => undefined);
    try {
      await client?.call('ImageFsInfo');
      if (client !== undefined) return client;
    } catch {
      client?.close();
    }
    if (performance.now() > until) throw new Error(`no answer at ${path}`);
    await sleep(2);
  }
}
