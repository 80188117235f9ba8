import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode } from '../../errors.js';
import { callUnary, UnaryCallError } from '../../grpc/unary-call.js';
import { grpcStatus } from '../../protocol/grpc-status.js';
import { durationGrammar, milliseconds } from '../../settings/duration-text.js';
import { explainUnixAddress, parseUnixAddress } from '../../settings/socket-text.js';
import { QuestionError } from '../question-error.js';
import { messagesAt } from './message-fields.js';

export interface ProbeOptions {
  readonly endpoint: string;
  readonly timeout: string;
}

/** Milliseconds. */
const mostTime = 600_000;
/** Milliseconds between two questions. */
const pause = 200;

/**
 * Asks an image service for ImageFsInfo, as kubelet does before anything else; again and again, while nobody listens or
 * the answer is UNAVAILABLE: it may be just about to start.
 *
 * @returns why kubelet could not work with it, in one line; undefined where it could
 * @throws QuestionError
 */
export async function probe({ endpoint, timeout }: ProbeOptions): Promise<string | undefined> {
  const address = parseUnixAddress(endpoint);
  if (address === undefined) throw new QuestionError(`--endpoint: ${explainUnixAddress(endpoint)}`);
  const time = milliseconds(timeout);
  if (!durationGrammar.test(timeout) || time === 0 || time > mostTime) {
    throw new QuestionError('--timeout: expected a duration such as 500ms or 5s, at most 10m');
  }
  const end = performance.now() + time;
  for (;;) {
    const { why, mayPass } = await ask(endpoint, address.path, end - performance.now());
    if (!mayPass || performance.now() + pause >= end) return why;
    await sleep(pause);
  }
}

interface Outcome {
  /** As `probe` has it. */
  readonly why: string | undefined;
  /** Whether another question may get another answer. */
  readonly mayPass: boolean;
}

/** @param left milliseconds */
async function ask(endpoint: string, path: string, left: number): Promise<Outcome> {
  const timeout = Math.ceil(left / 100) * 100; // as people read it where it is over
  try {
    const call = { path, method: 'ImageFsInfo', request: new Uint8Array(), timeout };
    const { status, message, bytes } = await callUnary(call);
    if (status !== grpcStatus.OK) {
      const why = `${endpoint}: ImageFsInfo: gRPC status ${status}: ${oneLine(message)}`;
      return { why, mayPass: status === grpcStatus.UNAVAILABLE };
    }
    const why = `${endpoint}: ImageFsInfo names no image filesystem with used_bytes and a mountpoint: kubelet would crash`;
    return { why: hasFilesystem(bytes) ? undefined : why, mayPass: false };
  } catch (error) {
    if (!(error instanceof UnaryCallError)) throw error;
    const isNobodyThere = hasCode(error.cause, 'ENOENT') || hasCode(error.cause, 'ECONNREFUSED');
    return { why: error.message, mayPass: isNobodyThere };
  }
}

const maxMessage = 500;
const oneLine = (text: string) => text.replace(/\s+/g, ' ').slice(0, maxMessage);

/**
 * Kubelet reads the first one alone, and does not look whether `used_bytes` is there. Read by field numbers
 * (`runtime.proto`): decoding by the schema would take longer to load than to ask.
 *
 * @param bytes of `ImageFsInfoResponse`
 */
function hasFilesystem(bytes: Uint8Array): boolean {
  try {
    const [first] = messagesAt(bytes, 1);
    if (first === undefined || messagesAt(first, 3).length === 0) return false;
    return messagesAt(first, 2).some((id) => messagesAt(id, 1).some((mountpoint) => mountpoint.length > 0));
  } catch {
    return false; // no such message
  }
}
