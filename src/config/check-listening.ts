import { type ListenAddress, printListenAddress } from '../settings/listen-address.js';
import { coreSchema } from './core-schema.js';
import { isMapping } from './mapping.js';
import type { Finding } from './problem.js';

/** What is wrong between the addresses of a raw configuration; those that are wrong in themselves are passed over. */
export function checkListening(raw: unknown): readonly Finding[] {
  const core = isMapping(raw) ? raw : {};
  const findings: Finding[] = [];
  const { externalUrl, listen, admin, tls } = coreSchema.shape;
  const url = externalUrl.safeParse(core.externalUrl).data;
  if (core.tls !== undefined && url?.protocol === 'http:') {
    findings.push({ path: ['externalUrl'], message: 'expected https://, because `tls` serves HTTPS' });
  }
  const taken: [string, ListenAddress][] = [];
  const addresses = [
    [['listen'], listen.safeParse(core.listen).data],
    [['admin', 'listen'], admin.safeParse(core.admin).data?.listen],
    [['tls', 'redirectFrom'], tls.safeParse(core.tls).data?.redirectFrom],
  ] as const;
  for (const [path, address] of addresses) {
    if (address === undefined) continue;
    const other = taken.find(([, earlier]) => collide(earlier, address));
    if (other !== undefined) {
      const message = `expected another port than that of \`${other[0]}\`, which is ${printListenAddress(other[1])}`;
      findings.push({ path: [...path], message });
    }
    taken.push([path.join('.'), address]);
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
