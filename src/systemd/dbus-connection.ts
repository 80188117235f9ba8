import { connect, type Socket } from 'node:net';
import { describeError } from '../errors.js';
import { type MethodCall, type ReceivedMessage, takeMessage, writeCall } from './dbus-message.js';

/** What the other side answered instead of a result. */
export class DbusError extends Error {
  /** Such as `org.freedesktop.systemd1.NoSuchUnit`. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface DbusConnectionOptions {
  /** The socket's path. */
  readonly socket: string;
  /** Milliseconds for the connection, and for each call. */
  readonly timeout: number;
  readonly onSignal: (signal: ReceivedMessage) => void;
  /** Called once, also where it was closed from here. */
  readonly onEnd: (reason: Error) => void;
}

interface WaitingCall {
  resolve(body: readonly unknown[]): void;
  reject(error: Error): void;
}

const longestGreeting = 4096;

/** One connection to a D-Bus server. Nothing that comes from there can throw outside of a call. */
export class DbusConnection {
  readonly #socket: Socket;
  readonly #options: DbusConnectionOptions;
  readonly #waiting = new Map<number, WaitingCall>();
  #bytes: Buffer = Buffer.alloc(0);
  #serial = 0;
  #ended: Error | undefined;
  /** Until the server knows who we are. */
  #greeting: { resolve(): void; reject(error: Error): void } | undefined;

  private constructor(socket: Socket, options: DbusConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  /** @throws an Error of one line */
  static async open(options: DbusConnectionOptions): Promise<DbusConnection> {
    const socket = connect(options.socket);
    const connection = new DbusConnection(socket, options);
    socket.on('error', (error) => connection.#end(new Error(describeError(error), { cause: error })));
    socket.on('close', () => connection.#end(new Error('the connection was closed')));
    socket.on('data', (bytes: Buffer) => connection.#take(bytes));
    await connection.#authenticate();
    return connection;
  }

  get isOpen(): boolean {
    return this.#ended === undefined;
  }

  /** @returns the values of the answer. @throws DbusError; an Error of one line where no answer came */
  call(call: MethodCall): Promise<readonly unknown[]> {
    const ended = this.#ended;
    if (ended) return Promise.reject(ended);
    const serial = this.#nextSerial();
    const message = writeCall(call, serial);
    return new Promise((resolve, reject) => {
      const { timeout } = this.#options;
      const timer = setTimeout(() => {
        this.#waiting.delete(serial);
        reject(new Error(`no answer to ${call.member} within ${timeout / 1000} s`));
      }, timeout);
      this.#waiting.set(serial, {
        resolve: (body) => {
          clearTimeout(timer);
          resolve(body);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      this.#socket.write(message);
    });
  }

  close(): void {
    this.#end(new Error('the connection was closed'));
  }

  /**
   * SASL's EXTERNAL (D-Bus specification, Authentication Protocol): the kernel tells the server who we are. BEGIN goes
   * with it, as sd-bus does it: where it comes together with the first message, systemd leaves that lying until the next.
   */
  async #authenticate(): Promise<void> {
    const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex');
    const { timeout } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => this.#end(new Error(`no answer within ${timeout / 1000} s`)), timeout);
      const answered = (error?: Error) => {
        clearTimeout(timer);
        this.#greeting = undefined;
        error ? reject(error) : resolve();
      };
      this.#greeting = { resolve: answered, reject: answered };
      if (this.#ended) answered(this.#ended);
      else this.#socket.write(`\0AUTH EXTERNAL ${uid}\r\nBEGIN\r\n`);
    });
  }

  #nextSerial(): number {
    this.#serial = this.#serial === 0xffff_ffff ? 1 : this.#serial + 1;
    return this.#serial;
  }

  #take(bytes: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
    try {
      if (this.#greeting) this.#takeGreeting();
      if (!this.#greeting) this.#takeMessages();
    } catch (error) {
      this.#end(new Error(`what came cannot be read: ${describeError(error)}`, { cause: error }));
    }
  }

  #takeGreeting(): void {
    const end = this.#bytes.indexOf('\r\n');
    if (end < 0 && this.#bytes.length > longestGreeting) throw new Error('the greeting is too long');
    if (end < 0) return;
    const line = this.#bytes.subarray(0, end).toString('latin1');
    this.#bytes = this.#bytes.subarray(end + 2);
    if (!line.startsWith('OK ')) {
      this.#end(new Error(`this user was not let in: ${line.split(' ')[0]}`));
      return;
    }
    this.#greeting?.resolve();
  }

  #takeMessages(): void {
    for (let taken = takeMessage(this.#bytes); taken; taken = takeMessage(this.#bytes)) {
      this.#bytes = taken.rest;
      this.#dispatch(taken.message);
    }
  }

  #dispatch(message: ReceivedMessage): void {
    if (message.type === 'signal') this.#options.onSignal(message);
    const waiting = this.#waiting.get(message.replySerial);
    if (waiting === undefined || (message.type !== 'return' && message.type !== 'error')) return;
    this.#waiting.delete(message.replySerial);
    if (message.type === 'return') waiting.resolve(message.body);
    else waiting.reject(new DbusError(message.errorName, oneLine(message.body[0], message.errorName)));
  }

  #end(reason: Error): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.#socket.destroy();
    this.#greeting?.reject(reason);
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(reason);
    this.#options.onEnd(reason);
  }
}

function oneLine(text: unknown, otherwise: string): string {
  return typeof text === 'string' && text !== '' ? text.replaceAll(/\s+/g, ' ').trim() : otherwise;
}
