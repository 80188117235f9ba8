import { z } from 'zod';
import type { NodePorts } from './ports.js';

/**
 * Not in kubelet's RuntimeDirectory, which goes whenever kubelet stops; gone after a reboot, as everything below /run.
 */
export const kubeletStartsFile = '/run/kubelet-image-service-starts/starts.json';

/** So many starts with our arguments in so many milliseconds are a kubelet that does not live with them. */
const mostStarts = 4;
const within = 5 * 60_000;
/** Milliseconds that it starts without them then. */
const holdTime = 30 * 60_000;

const shape = z.strictObject({
  starts: z.array(z.number()).max(mostStarts),
  heldUntil: z.number().optional(),
});

/** Kubelet's starts with our arguments. All in milliseconds since the epoch. */
export interface KubeletStarts {
  readonly starts: readonly number[];
  /** Until then it is started without. */
  readonly heldUntil?: number | undefined;
}

/** @returns none where it is no such text */
export function parseStarts(text: string | undefined): KubeletStarts {
  try {
    return shape.parse(JSON.parse(text ?? ''));
  } catch {
    return { starts: [] };
  }
}

/** @returns what is left of it, in milliseconds; 0: none. A clock that was set back does not make it longer */
export function holdLeft({ heldUntil = 0 }: KubeletStarts, now: number): number {
  const left = heldUntil - now;
  return left > 0 && left <= holdTime ? left : 0;
}

/** Kubelet is about to start with our arguments: what is to be remembered, and whether it starts without them instead. */
export function countStart(before: KubeletStarts, now: number): KubeletStarts {
  if (holdLeft(before, now) > 0) return before;
  const recent = before.starts.filter((at) => at <= now && now - at < within);
  return recent.length < mostStarts
    ? { starts: [...recent, now] }
    : { starts: [], heldUntil: now + holdTime };
}

/** @returns whether a start of kubelet would be one without our arguments, however well the endpoint is */
export async function isHeld({ files, clock }: Pick<NodePorts, 'files' | 'clock'>): Promise<boolean> {
  const text = await files.read(kubeletStartsFile).catch(() => undefined);
  return holdLeft(parseStarts(text), clock.now()) > 0;
}
