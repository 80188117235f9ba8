import { isAbsolute, normalize } from 'node:path';

/** A unix socket: by its path, or handed over open by whoever started us (systemd's socket activation). */
export type SocketAddress = { readonly path: string } | { readonly fd: number };

/** Bytes of `sun_path` (unix(7)), without the zero at its end. */
export const maxSocketPath = 107;
/** sd_listen_fds(3): the first one that is handed over. */
export const firstPassedFd = 3;

export const expectedPath = `expected unix:///an/absolute/path of at most ${maxSocketPath} bytes`;

/** @returns undefined where the text is no `unix:///path` */
export function parseUnixAddress(text: string): { readonly path: string } | undefined {
  if (!text.startsWith('unix://')) return undefined;
  const path = text.slice('unix://'.length);
  if (!isAbsolute(path) || path.endsWith('/') || path.includes('\0')) return undefined;
  return Buffer.byteLength(path) > maxSocketPath ? undefined : { path: normalize(path) };
}

/** What is to be written instead of a text that `parseUnixAddress` does not take. */
export function explainUnixAddress(text: string): string {
  const path = /^(?:unix:\/{0,2})?(\/?[^:\0]*)$/.exec(text)?.[1] ?? '';
  const meant = `unix:///${path.replace(/^\/+/, '')}`;
  if (path.endsWith('/')) return `names a directory; ${expectedPath}`;
  const isPlain = /^[\w./@+-]+$/.test(path) && path.includes('/');
  return isPlain && parseUnixAddress(meant) ? `write ${meant}` : expectedPath;
}

/** `unix:///run/x.sock`, `fd://`, `fd://4`. @returns undefined where the text is neither */
export function parseSocketAddress(text: string): SocketAddress | undefined {
  const fd = /^fd:\/\/(\d{0,4})$/.exec(text)?.[1];
  if (fd === undefined) return parseUnixAddress(text);
  const number = fd === '' ? firstPassedFd : Number(fd);
  return number < firstPassedFd ? undefined : { fd: number };
}

export function printSocketAddress(address: SocketAddress): string {
  return 'path' in address ? `unix://${address.path}` : `fd://${address.fd}`;
}
