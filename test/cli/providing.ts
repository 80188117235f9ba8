import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { addCredentialProviderCommand } from '../../src/bin/credential-provider/command.js';
import { failureOf } from '../../src/bin/failure.js';
import type { Scope } from '../harness/index.js';

// `kubelet-image-service credential-provider`, in this process: starting a program takes a second or more on a busy machine.

export interface Provided {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class ProviderMachine {
  readonly directory = mkdtempSync(join(tmpdir(), 'drp-provider-'));
  readonly file: string;

  /** @param images the rules */
  constructor(scope: Scope, images: unknown, more: object = {}) {
    scope.after(() => rmSync(this.directory, { recursive: true, force: true }));
    this.file = this.write('config.yaml', stringify({ ...more, images }));
  }

  /** @returns the file, absolute */
  write(name: string, text: string, mode = 0o600): string {
    writeFileSync(join(this.directory, name), text, { mode });
    return join(this.directory, name);
  }

  /** @param args beside `--config` */
  run(
    args: readonly string[],
    input = '',
    { env = {}, stop }: { readonly env?: NodeJS.ProcessEnv; readonly stop?: AbortController } = {},
  ): Promise<Provided> {
    return runProvider(['credential-provider', '--config', this.file, ...args], input, { env, stop });
  }

  /** Asks as kubelet does. */
  ask(image: string, { token, audience, allow, ...o }: Asked = {}): Promise<Provided> {
    const args = [
      ...(audience === undefined ? [] : ['--audience', audience]),
      ...(allow === undefined ? [] : ['--allow', allow]),
    ];
    return this.run(args, requestFor(image, token), o);
  }
}

export interface Asked {
  readonly token?: string;
  readonly audience?: string;
  readonly allow?: 'exec' | 'module';
  readonly env?: NodeJS.ProcessEnv;
}

export function requestFor(image: string, serviceAccountToken?: string): string {
  const type = {
    kind: 'CredentialProviderRequest',
    apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
  };
  return `${JSON.stringify({ ...type, image, ...(serviceAccountToken && { serviceAccountToken }) })}\n`;
}

/** @param args of the program, the command's name with them */
export async function runProvider(
  args: readonly string[],
  input: string,
  {
    env = {},
    stop = new AbortController(),
  }: { readonly env?: NodeJS.ProcessEnv; readonly stop?: AbortController | undefined } = {},
): Promise<Provided> {
  const written = { stdout: '', stderr: '' };
  const stdin = new PassThrough();
  stdin.end(input);
  const own = {
    ...{ env, stdin, exitCode: undefined as number | string | null | undefined },
    stdout: {
      write: (text: string, done?: () => void) => {
        written.stdout += text;
        done?.();
      },
    },
    stderr: {
      write: (text: string) => {
        written.stderr += text;
      },
    },
  };
  const program = new Command('kubelet-image-service').exitOverride().configureOutput({
    writeOut: own.stdout.write,
    writeErr: own.stderr.write,
  });
  addCredentialProviderCommand(program, own, () => stop);
  try {
    await program.parseAsync(args, { from: 'user' });
    return { ...written, code: Number(own.exitCode ?? 0) };
  } catch (error) {
    const { message, code } = failureOf(error);
    return { ...written, stderr: `${written.stderr}${message ?? ''}`, code };
  }
}
