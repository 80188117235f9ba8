import { RuntimeError } from '../../contracts/runtime.js';

/** A version of the Docker Engine API, which are all `1.MINOR`. */
export interface ApiVersion {
  readonly minor: number;
  readonly text: string;
}

/** Docker 20.10, of Debian 12. */
const oldest = 41;
/** The newest whose answers were looked at, of Docker 27. */
const newest = 47;

/**
 * The version to speak with an engine: the newest that both know. An engine that has given up all of ours is spoken to
 * in the oldest of its own: what is read of its answers is little, and has never changed.
 *
 * @param answer of `GET /version`
 * @throws RuntimeError `failed` where it is older than Docker 20.10, or none
 */
export function apiVersionOf(answer: Readonly<Record<string, unknown>>): ApiVersion {
  const theirs = minorOf(answer.ApiVersion);
  if (theirs === undefined) {
    throw new RuntimeError(
      'failed',
      'what answers there is no Docker Engine: it names no version of its API',
    );
  }
  if (theirs < oldest) {
    throw new RuntimeError(
      'failed',
      `the Docker Engine speaks API 1.${theirs}; at least 1.${oldest} (20.10) is needed`,
    );
  }
  const minor = Math.min(theirs, Math.max(newest, minorOf(answer.MinAPIVersion) ?? 0));
  return { minor, text: `1.${minor}` };
}

function minorOf(text: unknown): number | undefined {
  const minor = typeof text === 'string' ? /^1\.(\d{1,4})$/.exec(text)?.[1] : undefined;
  return minor === undefined ? undefined : Number(minor);
}
