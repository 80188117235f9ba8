import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requireProgram } from '../../../src/testing/programs.js';
import { run, succeeded } from './command.js';
import type { Workspace } from './workspace.js';

const source = join(dirname(fileURLToPath(import.meta.url)), 'grpc-go');
/** Where Debian puts the sources of Go packages. */
const gopath = '/usr/share/gocode';

export interface GoCall {
  /** `/runtime.v1.ImageService/PullImage`. */
  readonly method: string;
  readonly message: Uint8Array;
}

export interface GoAnswer {
  readonly code: number;
  readonly message: string;
  readonly bytes: Buffer;
}

/** Makes calls with grpc-go, all at once on one connection. @param o.timeout of each, as Go writes it: `1ms` */
export type GrpcGo = (
  socket: string,
  calls: readonly GoCall[],
  o?: { readonly timeout?: string },
) => Promise<readonly GoAnswer[]>;

/** @returns false where Go or grpc-go is missing: the test was skipped then; return */
export function requireGrpcGo(t: TestContext): boolean {
  if (requireProgram(t, 'go', 'golang-go') === undefined) return false;
  if (existsSync(join(gopath, 'src/google.golang.org/grpc'))) return true;
  const reason = 'grpc-go is not installed: apt-get install golang-google-grpc-dev';
  if (process.env.REQUIRE_PROGRAMS === '1') throw new Error(reason);
  t.skip(reason);
  return false;
}

/** Builds the client, from Debian's sources alone. */
export async function buildGrpcGo(workspace: Workspace): Promise<GrpcGo> {
  const program = workspace.path('grpc-go');
  const env = workspace.environment({
    ...{ GO111MODULE: 'off', GOPATH: gopath, GOFLAGS: '', GOPROXY: 'off', CGO_ENABLED: '0' },
    ...{ GOCACHE: workspace.path('go-cache'), GOTMPDIR: workspace.path('tmp') },
  });
  succeeded(await run('go', ['build', '-o', program, join(source, 'main.go')], { env, timeout: 240_000 }));
  return async (socket, calls, { timeout = '1m' } = {}) => {
    const input = calls
      .map(({ method, message }) => `${method} ${Buffer.from(message).toString('hex')}\n`)
      .join('');
    const options = ['-socket', socket, '-timeout', timeout];
    const done = succeeded(await run(program, options, { env: workspace.environment(), input }));
    return done.stdout.trim().split('\n').map(parsed);
  };
}

function parsed(line: string): GoAnswer {
  const { code, message, hex } = JSON.parse(line) as { code: number; message: string; hex: string };
  return { code, message, bytes: Buffer.from(hex, 'hex') };
}
