import { dirname, join } from 'node:path';
import { maxSocketPath, type SocketAddress } from '../../settings/socket-address.js';
import { isMapping } from '../mapping.js';
import type { Finding } from '../problem.js';
import type { ImageServiceSettings } from './schema.js';
import { adminSocketName, usualDirectory } from './usual-places.js';

/** Where operators ask, where the configuration does not say. A socket of systemd's may be anywhere. */
export function adminSocketOf({ listen, admin }: Pick<ImageServiceSettings, 'listen' | 'admin'>): {
  readonly path: string;
} {
  if (admin.socket !== undefined) return admin.socket;
  return { path: join('path' in listen ? dirname(listen.path) : usualDirectory, adminSocketName) };
}

/** What is wrong with the sockets beside each other. @param runtime the settings of the runtime, as its driver reads them */
export function checkSockets(settings: ImageServiceSettings, runtime: unknown): readonly Finding[] {
  const { listen } = settings;
  const admin = adminSocketOf(settings);
  const findings: Finding[] = [];
  if (Buffer.byteLength(admin.path) > maxSocketPath) {
    const message = `leaves no room for ${adminSocketName} beside it, in ${maxSocketPath} bytes: set admin.socket`;
    findings.push({ path: ['listen'], message });
  }
  if (isSame(listen, admin)) {
    findings.push({ path: ['admin', 'socket'], message: "is the socket of 'listen'; expected another one" });
  }
  const endpoint = isMapping(runtime) && isMapping(runtime.endpoint) ? runtime.endpoint.path : undefined;
  if (typeof endpoint === 'string' && [listen, admin].some((own) => isSame(own, { path: endpoint }))) {
    const message = "is a socket of this program: it would ask itself; expected the container runtime's";
    findings.push({ path: ['runtime', 'endpoint'], message });
  }
  return findings;
}

function isSame(one: SocketAddress, other: SocketAddress): boolean {
  return 'path' in one && 'path' in other && one.path === other.path;
}
