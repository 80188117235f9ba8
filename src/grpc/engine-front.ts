import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { CallOptions } from '../contracts/call-options.js';
import type { Log } from '../contracts/log.js';
import { type Runtime, RuntimeError } from '../contracts/runtime.js';
import { untilAborted } from '../decorators/single-flight.js';
import { describeError, RegistryError } from '../errors.js';
import { withAdvice } from '../image-service/pull-advice.js';
import type { PullService } from '../image-service/pull-service.js';
import { grpcStatus } from '../protocol/grpc-status.js';
import { toldText } from '../protocol/told-text.js';
import { parseImageReference } from '../reference/image-reference.js';
import { shorten } from '../reference/repository-name.js';
import { CallFailure } from './call-failure.js';
import type { CallFront } from './call-front.js';
import { ClientCall } from './client-call.js';
import { askedPull } from './cri/asked-pull.js';
import { credentialOf } from './cri/auth-config.js';
import { imageMessage, usageMessage } from './cri/image-messages.js';
import {
  ImageFsInfoRequestSchema,
  ImageFsInfoResponseSchema,
  type ImageSpec,
  ImageStatusRequestSchema,
  ImageStatusResponseSchema,
  ListImagesRequestSchema,
  ListImagesResponseSchema,
  type PullImageRequest,
  PullImageRequestSchema,
  PullImageResponseSchema,
  RemoveImageRequestSchema,
  RemoveImageResponseSchema,
} from './cri/runtime_pb.js';
import { engineAttempt } from './engine-pull.js';
import { frame, maxMessageSize, readMessage } from './frames.js';
import { imageServicePath } from './image-service-path.js';
import type { RawHeaders } from './raw-headers.js';

export interface EngineFrontParts {
  readonly runtime: Runtime;
  readonly pulls: Pick<PullService, 'pull'>;
  readonly log: Log;
}

/** @param bytes of the request. @returns those of the response */
type Method = (bytes: Uint8Array, o: CallOptions) => Promise<Uint8Array>;

const runtimeStatus = {
  unavailable: grpcStatus.UNAVAILABLE,
  stalled: grpcStatus.DEADLINE_EXCEEDED,
  signature: grpcStatus.UNKNOWN,
  full: grpcStatus.UNKNOWN,
  'in use': grpcStatus.UNKNOWN,
  failed: grpcStatus.UNKNOWN,
} as const;

/**
 * Answers `runtime.v1.ImageService` for a runtime that does not speak CRI. Methods that are not here are UNIMPLEMENTED;
 * for StreamImages kubelet falls back to ListImages then.
 */
export class EngineFront implements CallFront {
  readonly #parts: EngineFrontParts;
  readonly #methods: ReadonlyMap<string, Method>;

  constructor(parts: EngineFrontParts) {
    this.#parts = parts;
    const { runtime } = parts;
    this.#methods = new Map([
      [
        'ListImages',
        unary(ListImagesRequestSchema, ListImagesResponseSchema, async ({ filter }, o) => {
          const image = filter?.image?.image;
          const images = await runtime.list({ ...o, ...(image && { image }) });
          return { images: images.map(imageMessage) };
        }),
      ],
      [
        'ImageStatus',
        unary(ImageStatusRequestSchema, ImageStatusResponseSchema, async ({ image, verbose }, o) => {
          const found = await runtime.status(nameOf(image), o);
          // An image that is not there is an answer, and no error.
          if (found === undefined) return {};
          return { image: imageMessage(found), ...(verbose && { info: { info: JSON.stringify(found) } }) };
        }),
      ],
      [
        'PullImage',
        unary(PullImageRequestSchema, PullImageResponseSchema, async (request, o) => ({
          imageRef: await this.#pull(request, o),
        })),
      ],
      [
        'RemoveImage',
        unary(RemoveImageRequestSchema, RemoveImageResponseSchema, async ({ image }, o) => {
          await runtime.remove(nameOf(image), o);
          return {};
        }),
      ],
      [
        'ImageFsInfo',
        unary(ImageFsInfoRequestSchema, ImageFsInfoResponseSchema, async (_, o) => {
          const filesystems = (await runtime.fsInfo(o)).map(usageMessage);
          // Containers are on the same one.
          return { imageFilesystems: filesystems, containerFilesystems: filesystems };
        }),
      ],
    ]);
  }

  handle(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: RawHeaders): void {
    const call = new ClientCall(
      stream,
      rawHeaders,
      'deadline exceeded: the container runtime did not answer in time',
    );
    this.#answer(call, String(headers[':path'])).catch((error: unknown) => this.#fail(call, error));
  }

  async #answer(call: ClientCall, path: string): Promise<void> {
    const name = path.startsWith(imageServicePath) ? path.slice(imageServicePath.length) : path;
    const method = this.#methods.get(name);
    if (method === undefined) {
      throw new CallFailure(grpcStatus.UNIMPLEMENTED, `there is no method ${shorten(name)} here`);
    }
    const { signal } = call;
    const { bytes, isCompressed } = await readMessage(call.stream, { signal });
    if (isCompressed) {
      throw new CallFailure(grpcStatus.UNIMPLEMENTED, 'compressed messages are not taken');
    }
    // A runtime that does not look at its signal must not hold the call.
    const response = await untilAborted(method(bytes, { signal }), signal);
    if (response.length > maxMessageSize) {
      const message = `the answer has ${response.length} bytes, and at most ${maxMessageSize} are taken`;
      throw new CallFailure(grpcStatus.RESOURCE_EXHAUSTED, message);
    }
    call.begin([':status', '200', 'content-type', 'application/grpc']);
    if (!call.isAnswered) call.stream.write(frame(response));
    call.end(['grpc-status', '0']);
  }

  /** @returns the image's id, as kubelet wants it since 1.36 */
  async #pull(request: PullImageRequest, { signal }: CallOptions): Promise<string> {
    const { runtime, pulls } = this.#parts;
    const image = parseImageReference(nameOf(request.image));
    const own = () => request.auth && credentialOf(request.auth);
    const attempt = engineAttempt(runtime, image, own);
    const { outcome, advice } = await pulls.pull(askedPull(request), attempt, { signal });
    if (outcome.ok) return outcome.imageRef;
    throw new CallFailure(outcome.status, withAdvice(outcome.said, advice));
  }

  #fail(call: ClientCall, error: unknown): void {
    if (call.isAnswered) return;
    const failure = failureOf(error);
    if (failure === undefined) {
      this.#parts.log.error({ reason: toldText(describeError(error)) }, 'a call failed');
      call.fail(grpcStatus.INTERNAL, 'kubelet-image-service failed; its log says why');
      return;
    }
    call.fail(failure.status, failure.message);
  }
}

function unary<Request extends DescMessage, Response extends DescMessage>(
  request: Request,
  response: Response,
  answer: (message: MessageShape<Request>, o: CallOptions) => Promise<MessageInitShape<Response>>,
): Method {
  return async (bytes, o) => {
    const message = await answer(parse(request, bytes), o);
    return toBinary(response, create(response, message));
  };
}

function parse<Request extends DescMessage>(schema: Request, bytes: Uint8Array): MessageShape<Request> {
  try {
    return fromBinary(schema, bytes);
  } catch {
    // What a decoder says may hold a piece of a password.
    throw new CallFailure(grpcStatus.INVALID_ARGUMENT, `the request is no ${schema.name}`);
  }
}

function nameOf(image: ImageSpec | undefined): string {
  if (image?.image) return image.image;
  throw new CallFailure(grpcStatus.INVALID_ARGUMENT, 'the request names no image');
}

/** @returns undefined where it is a fault of ours */
function failureOf(error: unknown): { readonly status: number; readonly message: string } | undefined {
  if (error instanceof CallFailure) return error;
  if (error instanceof RuntimeError) {
    return { status: runtimeStatus[error.fault], message: toldText(error.message) };
  }
  if (error instanceof RegistryError && error.code === 'NAME_INVALID') {
    return {
      status: grpcStatus.INVALID_ARGUMENT,
      message: `${error.message}: ${shorten(String(error.detail?.image))}`,
    };
  }
  return undefined;
}
