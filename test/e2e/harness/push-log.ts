import { logLines } from './faulty-front.js';
import type { RunningProxy } from './proxy.js';
import { waitFor } from './wait-for.js';

/** What clients sent to a repository, as the proxy saw it. */
export interface Pushed {
  /** Body bytes of blobs, those that did not arrive whole too. */
  readonly bytes: number;
  /** Digests of the blobs that went up. */
  readonly uploaded: readonly string[];
  /** Those that the upstream took from another repository of its own, with that repository. */
  readonly mounted: readonly { readonly digest: string; readonly from: string }[];
}

let marks = 0;

/** Notes where the access log of the proxy is; what follows is told by its answer. */
export function startPushLog(proxy: RunningProxy): (repository: string) => Promise<Pushed> {
  const before = logLines(proxy, 'access').length;
  return async (repository) => {
    const lines = () => logLines(proxy, 'access').slice(before);
    await writeMark(proxy, lines);
    return pushed(lines().filter((line) => line.repository === repository));
  };
}

/** Lines are written after the answers, in order: what a client has seen is there when a later request is. */
async function writeMark(
  proxy: RunningProxy,
  lines: () => readonly Record<string, unknown>[],
): Promise<void> {
  const mark = `mark/${++marks}`;
  const answer = await fetch(`${proxy.url}/v2/${mark}/tags/list`);
  await answer.body?.cancel();
  const isWritten = await waitFor(() => lines().some((line) => line.repository === mark), 10_000);
  if (!isWritten) throw new Error('the proxy writes no access log');
}

function pushed(lines: readonly Record<string, unknown>[]): Pushed {
  const uploads = lines.filter(({ operation }) => operation === 'upload');
  const done = uploads.filter(({ status }) => status === 201);
  return {
    bytes: uploads.reduce((sum, { received }) => sum + Number(received ?? 0), 0),
    uploaded: done.filter(({ mountedFrom }) => mountedFrom === undefined).map(({ digest }) => String(digest)),
    mounted: done
      .filter(({ mountedFrom }) => mountedFrom !== undefined)
      .map(({ digest, mountedFrom }) => ({ digest: String(digest), from: String(mountedFrom) })),
  };
}
