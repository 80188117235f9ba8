import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { z } from 'zod';
import { hasCode } from '../errors.js';
import { shorten } from '../reference/repository-name.js';

/** Who holds a lock, as its file says, which is not always ours. Texts are bounded and clean, for they are printed. */
const holderSchema = z.object({
  pid: z.number().int().positive(),
  host: z
    .string()
    .max(255)
    .transform((text) => shorten(text, 255)),
  /** ISO 8601. */
  since: z.iso.datetime(),
  /** In clock ticks since boot; like what follows it is there on Linux only. */
  startTime: z.string().max(64).optional(),
  pidNamespace: z.string().max(64).optional(),
  bootId: z.string().max(64).optional(),
});

export type LockHolder = z.output<typeof holderSchema>;

/** `unknown`: it cannot be told from here; only watching its file tells. */
export type Life = 'alive' | 'dead' | 'unknown';

/** @param now milliseconds since the epoch */
export async function thisProcess(now: number): Promise<LockHolder> {
  const [stat, pidNamespace, bootId] = await Promise.all([
    statOf('self'),
    readlink('/proc/self/ns/pid').catch(() => undefined),
    readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => undefined),
  ]);
  return {
    pid: process.pid,
    host: hostname(),
    since: new Date(now).toISOString(),
    ...(stat && { startTime: stat.startTime }),
    ...(pidNamespace !== undefined && { pidNamespace }),
    ...(bootId !== undefined && { bootId: bootId.trim() }),
  };
}

/** @returns undefined where it is not what a holder writes: a power cut may leave an empty file */
export function parseHolder(text: string): LockHolder | undefined {
  try {
    return holderSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** A pid speaks only to those who share its kernel, since its boot, and its pid namespace: every container has a 1. */
export async function lifeOf(holder: LockHolder, me: LockHolder): Promise<Life> {
  const sees =
    holder.bootId !== undefined &&
    holder.bootId === me.bootId &&
    holder.pidNamespace !== undefined &&
    holder.pidNamespace === me.pidNamespace;
  if (!sees || holder.startTime === undefined) return 'unknown';
  try {
    // Before /proc, which may hide other users' processes (`hidepid`).
    process.kill(holder.pid, 0);
  } catch (error) {
    if (hasCode(error, 'ESRCH')) return 'dead';
  }
  const stat = await statOf(holder.pid);
  if (stat === undefined) return 'unknown';
  return stat.startTime === holder.startTime && !stat.isZombie ? 'alive' : 'dead';
}

/** "process 17 on host a", for a message. */
export function describeHolder(holder: LockHolder | undefined, me: LockHolder): string {
  if (holder === undefined) return 'a process that is alive';
  const { pid, host, since, startTime, pidNamespace, bootId } = holder;
  const isHere = bootId !== undefined && bootId === me.bootId && pidNamespace === me.pidNamespace;
  if (isHere && pid === me.pid && startTime === me.startTime) return `this process since ${since}`;
  return `process ${pid} on host ${host}${isHere ? '' : ', in another container or machine,'} since ${since}`;
}

/** proc_pid_stat(5); the name in parentheses may hold spaces and parentheses itself. */
async function statOf(pid: number | 'self'): Promise<{ startTime: string; isZombie: boolean } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, startTime] = [fields?.[0], fields?.[19]];
  if (state === undefined || startTime === undefined) return undefined;
  return { startTime, isZombie: state === 'Z' || state === 'X' };
}
