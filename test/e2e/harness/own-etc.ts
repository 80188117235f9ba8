import { mkdirSync, rmSync } from 'node:fs';
import type { Workspace } from './workspace.js';

/** Files below a registry's `certs.d`, by name. */
export type CertificateFiles = Readonly<Record<'ca.crt', string>> &
  Partial<Readonly<Record<'client.cert' | 'client.key', string>>>;

/**
 * A directory that programs find as `/etc`, each in a mount namespace of its own: the machine's stays as it is. They
 * resolve no other names than those that were given.
 */
export interface OwnEtc {
  /** @returns the command to run in place of the program */
  wrap(program: string, args: readonly string[]): [command: string, ...args: string[]];
  /** What docker finds in `/etc/docker/certs.d/HOST`, and nothing else. @param host with its port */
  setCertificates(host: string, files: CertificateFiles): void;
}

const mountAndRun = 'mount --bind "$1" /etc && shift && exec "$@"';

/** @param hosts addresses by name */
export function ownEtc(workspace: Workspace, hosts: Readonly<Record<string, '127.0.0.1' | '::1'>>): OwnEtc {
  const lines = Object.entries(hosts).map(([name, address]) => `${address} ${name}\n`);
  workspace.file('etc/hosts', lines.join(''));
  workspace.file('etc/nsswitch.conf', 'hosts: files\n');
  const directory = workspace.path('etc');
  return {
    wrap: (program, args) => {
      const namespace = ['--mount', '--propagation', 'private'];
      return ['unshare', ...namespace, 'sh', '-c', mountAndRun, 'sh', directory, program, ...args];
    },
    setCertificates: (host, files) => {
      const of = `etc/docker/certs.d/${host}`;
      rmSync(workspace.path(of), { recursive: true, force: true });
      mkdirSync(workspace.path(of), { recursive: true });
      for (const [name, text] of Object.entries(files)) workspace.file(`${of}/${name}`, text);
    },
  };
}
