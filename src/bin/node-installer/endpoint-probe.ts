import { stat } from 'node:fs/promises';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { describeError } from '../../errors.js';
import { callUnary } from '../../grpc/unary-call.js';
import type { EndpointProbe } from '../../node-installer/ports.js';
import { grpcStatus } from '../../protocol/grpc-status.js';
import { messagesAt } from '../image-service/message-fields.js';
import { probe } from '../image-service/probe.js';

/** Milliseconds for one call: a node may have a thousand images. */
const callTime = 20_000;
/** An image may come or go between two lists. */
const tries = 3;

/** Where runtimes listen, kubelet's own default first. */
const usualRuntimes = [
  '/run/containerd/containerd.sock',
  '/run/k3s/containerd/containerd.sock',
  '/run/crio/crio.sock',
  '/run/cri-dockerd.sock',
] as const;

/** Asks image endpoints as kubelet does. */
export class CriEndpoints implements EndpointProbe {
  async answers(endpoint: string, timeout: number): Promise<string | undefined> {
    try {
      return await probe({ endpoint, timeout: `${Math.max(Math.ceil(timeout), 1)}ms` });
    } catch (error) {
      return describeError(error);
    }
  }

  async compare(endpoint: string, runtimeEndpoint: string | undefined): Promise<string | undefined> {
    try {
      const ours = pathOf(endpoint);
      const theirs = runtimeEndpoint === undefined ? await usualRuntime() : pathOf(runtimeEndpoint);
      for (let turn = 1; ; turn++) {
        const difference = await differenceOf(ours, theirs);
        if (difference === undefined || turn === tries) return difference;
      }
    } catch (error) {
      return describeError(error);
    }
  }
}

const pathOf = (endpoint: string) => endpoint.replace(/^unix:(?:\/\/)?/, '');

async function usualRuntime(): Promise<string> {
  for (const path of usualRuntimes) {
    const found = await stat(path).catch(() => undefined);
    if (found?.isSocket()) return path;
  }
  throw new Error(`no container runtime is at one of ${usualRuntimes.join(', ')}: nothing to compare with`);
}

/** @throws an Error of one line where one of them does not answer */
async function differenceOf(ours: string, theirs: string): Promise<string | undefined> {
  const [mine, own] = await Promise.all([mountpoints(ours), mountpoints(theirs)]);
  if (!isSame(mine, own)) return 'ImageFsInfo names other filesystems than the container runtime itself';
  const [mineImages, ownImages] = await Promise.all([images(ours), images(theirs)]);
  if (!isSame(mineImages, ownImages))
    return 'ListImages lists other images than the container runtime itself';
  const [image] = mineImages;
  if (image === undefined) return undefined;
  const [mineStatus, ownStatus] = await Promise.all([statusOf(ours, image), statusOf(theirs, image)]);
  return mineStatus === ownStatus ? undefined : 'ImageStatus is not what the container runtime itself says';
}

function isSame(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((one, i) => one === others[i]);
}

async function mountpoints(path: string): Promise<readonly string[]> {
  const filesystems = messagesAt(await call(path, 'ImageFsInfo'), 1);
  return filesystems.flatMap((one) => messagesAt(one, 2).flatMap((id) => textsAt(id, 1))).sort();
}

/** @returns their ids */
async function images(path: string): Promise<readonly string[]> {
  const found = messagesAt(await call(path, 'ListImages'), 1);
  return [...new Set(found.flatMap((one) => textsAt(one, 1)))].sort();
}

/** @returns the id; empty where there is no such image */
async function statusOf(path: string, image: string): Promise<string> {
  const spec = new BinaryWriter().tag(1, 2).string(image).finish();
  const request = new BinaryWriter().tag(1, 2).bytes(spec).finish();
  const [found] = messagesAt(await call(path, 'ImageStatus', request), 1);
  return (found === undefined ? undefined : textsAt(found, 1)[0]) ?? '';
}

function textsAt(bytes: Uint8Array, field: number): readonly string[] {
  return messagesAt(bytes, field).map((text) => Buffer.from(text).toString());
}

async function call(path: string, method: string, request = new Uint8Array()): Promise<Uint8Array> {
  const { status, message, bytes } = await callUnary({ path, method, request, timeout: callTime });
  if (status === grpcStatus.OK) return bytes;
  throw new Error(
    `unix://${path}: ${method}: gRPC status ${status}: ${message.replace(/\s+/g, ' ').slice(0, 500)}`,
  );
}
