import type { Systemd } from '../contracts/node.js';

/** A node has some hundred units. */
const mostUnits = 2000;

/**
 * Whether a unit that has to be there before kubelet waits for kubelet itself: at boot systemd would leave out one of the
 * units in between to break the cycle (systemd.unit(5)), and that may be kubelet's.
 *
 * @param unit ours
 * @param kubelet its unit
 * @returns the units of the cycle in their order, ours first, kubelet's last; undefined where there is none
 */
export async function orderCycle(
  systemd: Pick<Systemd, 'unit'>,
  unit: string,
  kubelet: string,
): Promise<readonly string[] | undefined> {
  const cameFrom = new Map<string, string | undefined>([[unit, undefined]]);
  // What is added while it runs is looked at, too.
  for (const name of cameFrom.keys()) {
    if (name === kubelet) return wayTo(kubelet, cameFrom);
    if (cameFrom.size > mostUnits) throw new Error(`more than ${mostUnits} units start before ${unit}`);
    for (const earlier of (await systemd.unit(name)).after) {
      if (!cameFrom.has(earlier)) cameFrom.set(earlier, name);
    }
  }
  return undefined;
}

function wayTo(last: string, cameFrom: ReadonlyMap<string, string | undefined>): readonly string[] {
  const way = [];
  for (let at: string | undefined = last; at !== undefined; at = cameFrom.get(at)) way.unshift(at);
  return way;
}
