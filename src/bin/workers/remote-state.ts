import type { CallOptions, StateEntry, StateStore } from '../../contracts/index.js';
import { untilAborted } from '../../decorators/single-flight.js';
import { describeError, RegistryError } from '../../errors.js';
import type { StateAnswer, StateCall } from './messages.js';

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** The state of the process that started this worker. */
export class RemoteState implements StateStore {
  readonly #send: (id: number, asked: StateCall) => void;
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;

  constructor(send: (id: number, asked: StateCall) => void) {
    this.#send = send;
  }

  get(key: string, o: CallOptions): Promise<StateEntry | undefined> {
    return this.#ask({ call: 'get', args: [key] }, o) as Promise<StateEntry | undefined>;
  }

  put(key: string, value: string, o: CallOptions & { readonly ttl?: number }): Promise<void> {
    return this.#ask({ call: 'put', args: [key, value, o.ttl] }, o) as Promise<void>;
  }

  compareAndSet(
    key: string,
    version: string | undefined,
    value: string,
    o: CallOptions & { readonly ttl?: number },
  ): Promise<boolean> {
    return this.#ask({ call: 'compareAndSet', args: [key, version, value, o.ttl] }, o) as Promise<boolean>;
  }

  delete(key: string, o: CallOptions): Promise<void> {
    return this.#ask({ call: 'delete', args: [key] }, o) as Promise<void>;
  }

  list(prefix: string, o: CallOptions): Promise<readonly StateEntry[]> {
    return this.#ask({ call: 'list', args: [prefix] }, o) as Promise<readonly StateEntry[]>;
  }

  async close(): Promise<void> {}

  /** What came back for a call. */
  answered(id: number, answer: StateAnswer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if ('reason' in answer) waiting?.reject(new RegistryError('UNAVAILABLE', { reason: answer.reason }));
    else waiting?.resolve(answer.value);
  }

  async #ask(asked: StateCall, { signal }: CallOptions): Promise<unknown> {
    signal.throwIfAborted();
    const id = ++this.#last;
    const answered = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    this.#send(id, asked);
    // What was asked is done all the same, as with any store that is somewhere else.
    return untilAborted(answered, signal);
  }
}

/** Does for a worker what it asked for. Never rejects. */
export async function answerFrom(state: StateStore, { call, args }: StateCall): Promise<StateAnswer> {
  try {
    const value = await doCall(state, call, args);
    return value === undefined ? {} : { value };
  } catch (error) {
    return { reason: error instanceof RegistryError ? (error.reason ?? error.code) : describeError(error) };
  }
}

async function doCall(
  state: StateStore,
  call: StateCall['call'],
  args: readonly unknown[],
): Promise<StateEntry | readonly StateEntry[] | boolean | undefined> {
  const { signal } = new AbortController();
  // JSON makes null of what is undefined in a list.
  const text = (i: number) => (args[i] ?? undefined) as string;
  const withTtl = (i: number) => ({ signal, ...(typeof args[i] === 'number' && { ttl: args[i] }) });
  switch (call) {
    case 'get':
      return state.get(text(0), { signal });
    case 'put':
      await state.put(text(0), text(1), withTtl(2));
      return undefined;
    case 'compareAndSet':
      return state.compareAndSet(text(0), text(1), text(2), withTtl(3));
    case 'delete':
      await state.delete(text(0), { signal });
      return undefined;
    case 'list':
      return state.list(text(0), { signal });
  }
}
