import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { runHelper } from '../../src/bin/credential-helper/run.js';
import type { Scope } from '../harness/index.js';

// `docker-credential-registry-proxy` as docker runs it: a program on a machine of its own, one argument, a server on
// standard input. Mostly it is asked in this process, for starting a program takes a second or more on a busy machine.

const program = fileURLToPath(new URL('../../src/bin/docker-credential-registry-proxy.ts', import.meta.url));

export interface Told {
  /** 128 + n where a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A port where nobody is. */
const nobody = '127.0.0.1:1';

/** A home directory, and variables that lead to nothing outside of it. */
export class Machine {
  readonly home = mkdtempSync(join(tmpdir(), 'drp-helper-'));
  readonly env: NodeJS.ProcessEnv;

  constructor(scope: Scope, more: NodeJS.ProcessEnv = {}) {
    scope.after(() => rmSync(this.home, { recursive: true, force: true }));
    this.env = {
      ...{ PATH: process.env.PATH, HOME: this.home },
      GCE_METADATA_HOST: nobody,
      AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://${nobody}`,
      AZURE_POD_IDENTITY_AUTHORITY_HOST: `http://${nobody}`,
      ...more,
    };
  }

  /** @param name counts from the home directory. @returns it, absolute */
  write(name: string, text: string, mode = 0o600): string {
    const file = join(this.home, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text, { mode });
    return file;
  }

  /** Writes a configuration. @returns its file */
  configure(registries: unknown, name = '.docker/registry-proxy.yaml'): string {
    return this.write(name, stringify({ registries }));
  }

  /**
   * Asks in this process, one question at a time: its environment is the machine's meanwhile.
   *
   * @param input on standard input; `null` where nobody says what is wanted
   * @param patience milliseconds
   */
  async ask(
    args: string | readonly string[],
    input: string | null = '',
    more: NodeJS.ProcessEnv = {},
    patience?: number,
  ): Promise<Told> {
    let stderr = '';
    const stdin = new PassThrough();
    if (input !== null) stdin.end(input);
    const write = (line: string) => {
      stderr += line;
    };
    const limits = { stop: new AbortController(), ...(patience !== undefined && { patience }) };
    const { text, code } = await inEnvironment({ ...this.env, ...more }, () =>
      runHelper([args].flat(), { env: process.env, stdin, stderr: { write } }, limits),
    );
    return { code, signal: null, stdout: text === '' ? '' : `${text}\n`, stderr };
  }

  /** Asks the program itself. */
  askProgram(args: string | readonly string[], input = '', more: NodeJS.ProcessEnv = {}): Promise<Told> {
    return this.start(args, input, more).ended;
  }

  start(args: string | readonly string[], input?: string, more: NodeJS.ProcessEnv = {}): Asking {
    const command = ['--import', 'tsx', program, ...[args].flat()];
    const child = spawn(process.execPath, command, { env: { ...this.env, ...more }, stdio: 'pipe' });
    child.stdin.on('error', () => {}); // it need not read
    if (input !== undefined) child.stdin.end(input);
    return { child, ended: endOf(child) };
  }
}

let isElsewhere = false;

/** Sources and SDKs look at the process's own. */
async function inEnvironment<T>(env: NodeJS.ProcessEnv, step: () => Promise<T>): Promise<T> {
  assert.ok(!isElsewhere, 'one question at a time');
  isElsewhere = true;
  const before = { ...process.env };
  const become = (variables: NodeJS.ProcessEnv) => {
    for (const name of Object.keys(process.env)) if (variables[name] === undefined) delete process.env[name];
    Object.assign(process.env, variables);
  };
  become(env);
  try {
    return await step();
  } finally {
    become(before);
    isElsewhere = false;
  }
}

export interface Asking {
  readonly child: ChildProcess;
  readonly ended: Promise<Told>;
}

function endOf(child: ChildProcess): Promise<Told> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr });
    });
  });
}

/** What `get` says on standard error beside its refusal: `docker pull` shows nothing else of it. */
export function repeated(stdout: string): string {
  return `docker-credential-registry-proxy: error: ${stdout}`;
}

/** As clients know that there is no credential. */
export const notFound: Told = {
  ...{ code: 1, signal: null },
  ...{ stdout: 'credentials not found in native keychain\n', stderr: '' },
};
