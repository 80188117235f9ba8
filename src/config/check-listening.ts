import { type ListenAddress, printListenAddress } from '../settings/listen-address.js';
import { coreSchema } from './core-schema.js';
import { isMapping } from './mapping.js';
import type { Finding } from './problem.js';

/** What is wrong between the addresses of a raw configuration; those that are wrong in themselves are passed over. */
export function checkListening(raw: unknown): readonly Finding[] {
  const core = isMapping(raw) ? raw : {};
  const findings: Finding[] = [];
  const { externalUrl, listen, admin } = coreSchema.shape;
  const url = externalUrl.safeParse(core.externalUrl).data;
  if (core.tls !== undefined && url?.protocol === 'http:') {
    findings.push({ path: ['externalUrl'], message: 'expected https://, because `tls` serves HTTPS' });
  }
  const front = listen.safeParse(core.listen).data;
  const inner = admin.safeParse(core.admin).data?.listen;
  if (front !== undefined && inner !== undefined && collide(front, inner)) {
    const message = `expected another port than that of \`listen\`, which is ${printListenAddress(front)}`;
    findings.push({ path: ['admin', 'listen'], message });
  }
  return findings;
}

/** True where the second server could not listen: the same port, and one address is the other or includes it. */
function collide(a: ListenAddress, b: ListenAddress): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  const includes = (wide: string, host: string) =>
    wide === '::' || wide === host || (wide === '0.0.0.0' && !host.includes(':'));
  return includes(a.host, b.host) || includes(b.host, a.host);
}
