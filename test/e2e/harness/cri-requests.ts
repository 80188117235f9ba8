import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  ImageFsInfoRequestSchema,
  ImageStatusRequestSchema,
  ListImagesRequestSchema,
  PullImageRequestSchema,
  RemoveImageRequestSchema,
} from '../../../src/grpc/cri/runtime_pb.js';

/** The path of a method of CRI's image service. */
export const imageMethod = (name: string) => `/runtime.v1.ImageService/${name}`;

/** Requests as they go over the wire, for clients that know nothing of messages. */
export const criRequests = {
  /** @param image a filter */
  list: (image?: string) =>
    bytes(ListImagesRequestSchema, image === undefined ? {} : { filter: spec(image) }),
  status: (image: string, verbose = false) => bytes(ImageStatusRequestSchema, { ...spec(image), verbose }),
  pull: (image: string) => bytes(PullImageRequestSchema, spec(image)),
  remove: (image: string) => bytes(RemoveImageRequestSchema, spec(image)),
  fsInfo: () => bytes(ImageFsInfoRequestSchema, {}),
};

const spec = (image: string) => ({ image: { image } });

function bytes<Schema extends DescMessage>(schema: Schema, message: MessageInitShape<Schema>): Uint8Array {
  return toBinary(schema, create(schema, message));
}
