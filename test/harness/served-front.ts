import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CriFront, type CriFrontParts } from '../../src/grpc/cri-front.js';
import { CriSocket } from '../../src/runtimes/cri.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { largeWindows } from '../../src/testing/fake-cri-runtime.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';

export interface ServedFront {
  readonly path: string;
  readonly runtime: CriSocket;
  readonly log: FakeLog;
  readonly metrics: FakeMetrics;
  readonly clock: FakeClock;
  /** Calls that clients have open. */
  readonly openStreams: () => number;
  close(): Promise<void>;
}

/** Each pull is one attempt as it came. */
export const unchangedPulls: CriFrontParts['pulls'] = {
  pull: async (_request, attempt, { signal }) => ({
    outcome: await attempt({ signal, onProgress: () => {} }),
  }),
};

/** A `CriFront` at a socket of its own, before the runtime at `path`. */
export async function serveCriFront(
  path: string,
  {
    pulls = unchangedPulls,
    patience = 10_000,
  }: { readonly pulls?: CriFrontParts['pulls']; readonly patience?: number } = {},
): Promise<ServedFront> {
  const [log, metrics, clock] = [new FakeLog(), new FakeMetrics(), new FakeClock()];
  const runtime = new CriSocket({ path, patience, log, metrics });
  const front = new CriFront({ runtime, pulls, log, metrics, clock });
  const directory = mkdtempSync(join(tmpdir(), 'drp-front-'));
  const own = join(directory, 'f.sock');
  let open = 0;
  const server = createServer(largeWindows);
  const sessions = new Set<{ destroy(): void }>();
  server.on('sessionError', () => {});
  server.on('session', (session) => {
    session.setLocalWindowSize(16 * 1024 * 1024);
    sessions.add(session);
    session.on('error', () => {});
    session.once('close', () => sessions.delete(session));
  });
  server.on('stream', (stream, headers, _flags, raw?: readonly string[]) => {
    open += 1;
    stream.on('error', () => {});
    stream.once('close', () => {
      open -= 1;
    });
    front.handle(stream, headers, raw ?? []);
  });
  await new Promise<void>((resolve) => server.listen(own, resolve));
  return {
    path: own,
    runtime,
    log,
    metrics,
    clock,
    openStreams: () => open,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const session of sessions) session.destroy();
      await closed;
      await runtime.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
