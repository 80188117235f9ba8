import DBusBuffer from '@homebridge/dbus-native/lib/dbus-buffer.js';
import library from '@homebridge/dbus-native/lib/message.js';

/** A method call (D-Bus specification, Message Types). */
export interface MethodCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string;
  readonly body?: readonly unknown[];
}

/** A message that came. */
export interface ReceivedMessage {
  readonly type: 'call' | 'return' | 'error' | 'signal' | 'other';
  /** Of the call it answers; 0 where it is no answer. */
  readonly replySerial: number;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly errorName: string;
  readonly body: readonly unknown[];
}

const types = ['other', 'call', 'return', 'error', 'signal'] as const;
/** Codes of header fields by what they hold (D-Bus specification, Header Fields). */
const fieldCodes = { path: 1, interface: 2, member: 3, errorName: 4, replySerial: 5, signature: 8 } as const;

/** Before a message's fields. */
const prefixLength = 16;
/** Far above what systemd sends for one unit, far below what D-Bus allows. */
const longestMessage = 4 * 1024 * 1024;

/** @param serial above 0. @throws an Error where the body does not have the signature's form */
export function writeCall(call: MethodCall, serial: number): Buffer {
  return library.marshall({ ...call, type: 1, serial });
}

/**
 * Takes the first whole message from what came.
 *
 * @returns undefined where more bytes are needed. @throws an Error where they are no message, or a too long one
 */
export function takeMessage(bytes: Buffer): { message: ReceivedMessage; rest: Buffer } | undefined {
  if (bytes.length < prefixLength) return undefined;
  const littleEndian = bytes[0] === 0x6c;
  if (!littleEndian && bytes[0] !== 0x42) throw new Error('not a D-Bus message');
  const number = (at: number) => (littleEndian ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const bodyAt = Math.ceil((prefixLength + number(12)) / 8) * 8;
  const length = bodyAt + number(4);
  if (length > longestMessage) throw new Error(`a D-Bus message of ${length} bytes is too long`);
  if (bytes.length < length) return undefined;
  return {
    message: read(bytes.subarray(0, length), bodyAt, littleEndian),
    rest: bytes.subarray(length),
  };
}

function read(bytes: Buffer, bodyAt: number, littleEndian: boolean): ReceivedMessage {
  const header = new DBusBuffer(bytes.subarray(0, bodyAt), 0, { littleEndian }).read('yyyyuua(yv)');
  const fields = new Map(
    (header[6] as [number, unknown][]).map(([code, variant]) => [code, ofVariant(variant)]),
  );
  const text = (code: number) => String(fields.get(code) ?? '');
  const signature = text(fieldCodes.signature);
  return {
    type: types[Number(header[1])] ?? 'other',
    replySerial: Number(fields.get(fieldCodes.replySerial) ?? 0),
    path: text(fieldCodes.path),
    interface: text(fieldCodes.interface),
    member: text(fieldCodes.member),
    errorName: text(fieldCodes.errorName),
    body: signature === '' ? [] : new DBusBuffer(bytes.subarray(bodyAt), 0, { littleEndian }).read(signature),
  };
}

/** @returns a variant's value, as the library reads variants. @throws an Error where it is no variant */
export function ofVariant(variant: unknown): unknown {
  if (Array.isArray(variant) && Array.isArray(variant[1])) return variant[1][0];
  throw new Error('not a D-Bus variant');
}
