import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { type Untold, withoutSecrets } from '../protocol/told-text.js';
import { firstValue, type RawHeaders, withValue } from './raw-headers.js';
import { decodeStatusMessage, encodeStatusMessage } from './status.js';
import type { WholeAnswer } from './whole-answer.js';

const statusMessage = 'grpc-message';
const details = 'grpc-status-details-bin';

/** Another text for an error, in both places where it stands: clients take it from the details where there are some. */
export interface MessageChange {
  /** Of a `grpc-message`, empty where there is none. */
  readonly encoded: (encoded: string) => string;
  readonly plain: (message: string) => string;
}

/**
 * @param isRoom whether these trailers, or headers alone, may be sent. The answer stays as it is where they may not, and
 * where it has no gRPC status
 */
export function withChangedMessage(
  answer: WholeAnswer,
  change: MessageChange,
  isRoom: (raw: RawHeaders) => boolean = () => true,
): WholeAnswer {
  const raw = answer.trailers ?? answer.headers;
  if (firstValue(raw, 'grpc-status') === undefined) return answer;
  const before = firstValue(raw, statusMessage) ?? '';
  const after = change.encoded(before);
  const changed = changeDetails(after === before ? raw : withValue(raw, statusMessage, after), change);
  if (changed === raw || !isRoom(changed)) return answer;
  return answer.trailers === undefined ? { ...answer, headers: changed } : { ...answer, trailers: changed };
}

/**
 * An error of a runtime that was shown a credential of ours, without any of it: kubelet writes the text into the pod's
 * event, and registries' answers that are quoted there may hold what they were sent. How it begins stays, for kubelet
 * knows some errors by that, and what holds no secret stays byte for byte.
 */
export function withoutShown(answer: WholeAnswer, shown: readonly Untold[]): WholeAnswer {
  if (shown.length === 0) return answer;
  const plain = (message: string) => withoutSecrets(message, shown);
  const encoded = (before: string) => {
    const message = decodeStatusMessage(before);
    const told = plain(message);
    // The runtime found room for it: it is cut no further than that.
    return told === message ? before : encodeStatusMessage(told, before.length);
  };
  return withChangedMessage(answer, { encoded, plain });
}

/** `google.rpc.Status`. */
function changeDetails(raw: RawHeaders, { plain }: MessageChange): RawHeaders {
  const encoded = firstValue(raw, details);
  if (encoded === undefined) return raw;
  const status = changeStatus(Buffer.from(encoded, 'base64'), plain);
  // Unpadded, as the specification wants it.
  return status === undefined
    ? raw
    : withValue(raw, details, Buffer.from(status).toString('base64').replace(/=+$/, ''));
}

/** `message` of google.rpc.Status. */
const messageField = 2;

/** @returns undefined where nothing changes, and where this is no such message */
function changeStatus(status: Uint8Array, change: (message: string) => string): Uint8Array | undefined {
  try {
    const reader = new BinaryReader(status);
    const others: Uint8Array[] = [];
    let message = '';
    while (reader.pos < reader.len) {
      const start = reader.pos;
      const [field, type] = reader.tag();
      if (field === messageField && type === WireType.LengthDelimited) {
        message = reader.string();
        continue;
      }
      reader.skip(type, field);
      others.push(status.subarray(start, reader.pos));
    }
    const changed = change(message);
    if (changed === message) return undefined;
    const field = new BinaryWriter().tag(messageField, WireType.LengthDelimited).string(changed);
    return Buffer.concat([...others, field.finish()]);
  } catch {
    return undefined;
  }
}
