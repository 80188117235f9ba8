import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../contracts/log.js';
import type { NodeFiles, Systemd } from '../../contracts/node.js';
import type { Time } from '../../node-installer/ports.js';
import { CriEndpoints } from './endpoint-probe.js';
import { LocalKubelet } from './kubelet-health.js';

/** systemd's own socket, which root alone may ask, and the system bus. */
const sockets = ['/run/systemd/private', '/run/dbus/system_bus_socket'] as const;

export const systemTime: Time = { now: () => Date.now(), sleep: (time) => sleep(time) };

/** @param socket where systemd is asked; absent: the first that is there. @throws an Error of one line */
export async function connectSystemd(socket?: string): Promise<Systemd> {
  const { openSystemd } = await import('../../systemd/systemd.js');
  const found = socket ?? sockets.find((one) => existsSync(one));
  if (found === undefined) {
    throw new Error(`systemd cannot be asked: neither ${sockets.join(' nor ')} is there`);
  }
  return openSystemd({ socket: found });
}

/** What acts on this node. */
export function nodePorts(files: NodeFiles, systemd: Systemd, log: Log) {
  const [kubelet, endpoint] = [new LocalKubelet(systemd), new CriEndpoints()];
  return { files, systemd, kubelet, endpoint, clock: systemTime, log };
}
