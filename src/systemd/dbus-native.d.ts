// The parts of the library that are used: how messages are written and read. Its connection is left out, for it throws
// from event handlers, waits without bounds, and loads programs for other kinds of streams.

declare module '@homebridge/dbus-native/lib/message.js' {
  const message: {
    /** @throws an Error where the body does not have the signature's form */
    marshall(message: object): Buffer;
  };
  export default message;
}

declare module '@homebridge/dbus-native/lib/dbus-buffer.js' {
  /** Reads values in turn. Variants come as `[signature tree, [value]]`. */
  export default class DBusBuffer {
    constructor(bytes: Buffer, start: number, options: { readonly littleEndian: boolean });
    /** @param power the position becomes a multiple of 2^power */
    align(power: number): void;
    /** @throws an Error where the bytes are too few, or the signature is none */
    read(signature: string): unknown[];
  }
}
