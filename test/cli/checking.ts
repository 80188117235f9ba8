import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';

// `check` as operators run it: a program, a configuration with some upstreams, and what is printed.

export const program = fileURLToPath(new URL('../../src/bin/docker-registry-proxy.ts', import.meta.url));

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function run(args: readonly string[], env = process.env): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--import', 'tsx', program, ...args],
      { timeout: 60_000, env },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      },
    );
  });
}

/** A directory for configurations and the files they name. */
export class CheckedDirectory {
  readonly path = mkdtempSync(join(tmpdir(), 'drp-check-'));

  /** @returns the file, absolute */
  write(name: string, text: string, mode = 0o600): string {
    const file = join(this.path, name);
    writeFileSync(file, text, { mode });
    return file;
  }

  /** A configuration with these upstreams, and a route to each. */
  configuration(
    name: string,
    upstreams: Readonly<Record<string, object>>,
    more: Readonly<Record<string, unknown>> = {},
  ): string {
    const routes = Object.keys(upstreams).map((upstream) => ({ prefix: `${upstream}/`, upstream }));
    const basis = {
      listen: '127.0.0.1:0',
      externalUrl: 'https://docker.example.com',
      upstreams,
      routes,
      verifiers: [{ id: 'anyone', type: 'anonymous' }],
      policy: [{ names: ['anyone:*'], repositories: ['**'], actions: ['pull'] }],
    };
    return this.write(name, stringify({ ...basis, ...more }));
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** The cells of an upstream's line in the table of `--connect`. */
export function cells(stdout: string, upstream: string, nth = 0): readonly string[] {
  const lines = stdout.split('\n').filter((line) => line.startsWith(`${upstream} `) && !line.includes(' ('));
  return lines[nth]?.split(/ {2,}/) ?? [];
}

/** What is said below the table about an upstream that failed, and the fix, where there is one. */
export function told(
  stdout: string,
  upstream: string,
): { readonly said: string; readonly fix: string | undefined } {
  const lines = stdout.split('\n');
  const first = lines.findIndex((line) => line.startsWith(`${upstream} (`));
  const fix = /^ {2}fix: (.*)$/.exec(lines[first + 1] ?? '')?.[1];
  return { said: lines[first] ?? '', fix };
}
