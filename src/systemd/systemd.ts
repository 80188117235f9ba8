import { basename } from 'node:path';
import { type Systemd, type TransientService, UnitExistsError, type UnitState } from '../contracts/node.js';
import { describeError } from '../errors.js';
import { DbusConnection, DbusError } from './dbus-connection.js';
import type { MethodCall } from './dbus-message.js';
import { Jobs } from './jobs.js';
import { transientCall } from './transient-unit.js';
import { propertiesOf, unitStateOf } from './unit-state.js';

export interface SystemdOptions {
  /** A path: systemd's own (`/run/systemd/private`, root only), or the system bus (`/run/dbus/system_bus_socket`). */
  readonly socket: string;
  /** Milliseconds for each call. Default: 20 s. */
  readonly callTimeout?: number;
  /** Milliseconds for a job: as long as a unit may need to start. Default: 150 s. */
  readonly jobTimeout?: number;
}

const destination = 'org.freedesktop.systemd1';
const manager = {
  destination,
  path: '/org/freedesktop/systemd1',
  interface: `${destination}.Manager`,
} as const;
const bus = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const;
const jobSignals = `type='signal',sender='${destination}',interface='${destination}.Manager',member='JobRemoved'`;

/**
 * Speaks to the system manager by D-Bus (org.freedesktop.systemd1(5)).
 *
 * @throws an Error of one line where it cannot be reached
 */
export async function openSystemd(options: SystemdOptions): Promise<Systemd> {
  const systemd = new DbusSystemd(options);
  await systemd.connect();
  return systemd;
}

/** A connection that broke is made anew by the next call: systemd ends them when it is executed anew. */
class DbusSystemd implements Systemd {
  readonly #socket: string;
  readonly #callTimeout: number;
  readonly #jobTimeout: number;
  #connected: Promise<Connected> | undefined;
  #isClosed = false;

  constructor({ socket, callTimeout = 20_000, jobTimeout = 150_000 }: SystemdOptions) {
    this.#socket = socket;
    this.#callTimeout = callTimeout;
    this.#jobTimeout = jobTimeout;
  }

  async connect(): Promise<void> {
    await told('connecting', () => this.#connection());
  }

  unit(name: string): Promise<UnitState> {
    return told(`looking at ${name}`, async () => {
      // Also a unit that nobody has started yet; it is looked for on the disk then.
      const path = String((await this.#call({ ...manager, member: 'LoadUnit', ...words(name) }))[0]);
      const of = async (kind: string) =>
        propertiesOf(
          await this.#call({
            ...{ destination, path, interface: 'org.freedesktop.DBus.Properties', member: 'GetAll' },
            ...words(`${destination}.${kind}`),
          }),
        );
      return unitStateOf(await of('Unit'), name.endsWith('.service') ? await of('Service') : new Map());
    });
  }

  async reload(): Promise<void> {
    await told('daemon-reload', () => this.#call({ ...manager, member: 'Reload' }));
  }

  start(name: string): Promise<void> {
    return told(`starting ${name}`, () => this.#job('StartUnit', name));
  }

  /** One that systemd does not know is stopped. */
  stop(name: string): Promise<void> {
    return told(`stopping ${name}`, () => unlessUnknown(this.#job('StopUnit', name)));
  }

  restart(name: string): Promise<void> {
    return told(`restarting ${name}`, () => this.#job('RestartUnit', name));
  }

  startTransient(service: TransientService): Promise<void> {
    return told(`starting ${service.name}`, async () => {
      const { unit, signature, body } = transientCall(service);
      try {
        await this.#runJob({ ...manager, member: 'StartTransientUnit', signature, body });
      } catch (error) {
        if (error instanceof DbusError && error.code === `${destination}.UnitExists`) {
          throw new UnitExistsError(`${unit} is there already`, { cause: error });
        }
        throw error;
      }
    });
  }

  /** One that systemd does not know has not failed. */
  resetFailed(name: string): Promise<void> {
    return told(`resetting ${name}`, async () => {
      await unlessUnknown(this.#call({ ...manager, member: 'ResetFailedUnit', ...words(name) }));
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const connected = await this.#connected?.catch(() => undefined);
    connected?.connection.close();
  }

  #job(member: string, name: string): Promise<void> {
    return this.#runJob({ ...manager, member, ...words(name, 'replace') });
  }

  async #runJob(call: MethodCall): Promise<void> {
    // The same connection for both: it is the one that hears of the job.
    const { connection, jobs } = await this.#connection();
    const [path] = await connection.call(call);
    const result = await jobs.result(String(path), this.#jobTimeout);
    if (result !== 'done') throw new Error(`its job ended with: ${result}`);
  }

  async #call(call: MethodCall): Promise<readonly unknown[]> {
    const { connection } = await this.#connection();
    return connection.call(call);
  }

  async #connection(): Promise<Connected> {
    if (this.#isClosed) throw new Error('it was closed');
    this.#connected ??= this.#open();
    return this.#connected;
  }

  #open(): Promise<Connected> {
    const opening: Promise<Connected> = openConnection(this.#socket, this.#callTimeout, () => {
      if (this.#connected === opening) this.#connected = undefined;
    });
    return opening;
  }
}

/** @param onEnd called also where it could not be opened */
async function openConnection(socket: string, timeout: number, onEnd: () => void): Promise<Connected> {
  const jobs = new Jobs();
  const connection = await DbusConnection.open({
    ...{ socket, timeout },
    onSignal: (signal) => jobs.take(signal),
    onEnd: (reason) => {
      jobs.lose(reason);
      onEnd();
    },
  });
  try {
    // systemd itself at the other end needs no name of ours; the bus does (D-Bus specification, Hello).
    if (basename(socket) !== 'private') {
      await connection.call({ ...bus, member: 'Hello' });
      await connection.call({ ...bus, member: 'AddMatch', ...words(jobSignals) });
    }
    // Before any job, so that none ends unheard.
    await connection.call({ ...manager, member: 'Subscribe' });
    return { connection, jobs };
  } catch (error) {
    connection.close();
    throw error;
  }
}

interface Connected {
  readonly connection: DbusConnection;
  readonly jobs: Jobs;
}

function words(...body: readonly string[]): Pick<MethodCall, 'signature' | 'body'> {
  return { signature: 's'.repeat(body.length), body };
}

async function unlessUnknown(asked: Promise<unknown>): Promise<void> {
  try {
    await asked;
  } catch (error) {
    if (!(error instanceof DbusError && error.code === `${destination}.NoSuchUnit`)) throw error;
  }
}

/** Says what was tried before what went wrong. */
async function told<T>(what: string, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (error instanceof UnitExistsError) throw error;
    throw new Error(`systemd: ${what}: ${describeError(error)}`, { cause: error });
  }
}
