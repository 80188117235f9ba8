import { type ChildProcess, spawn } from 'node:child_process';
import { z } from 'zod';
import type { CallOptions, Credential } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';

const maxOutput = 64 * 1024;

const reply = z.looseObject({ Username: z.string(), Secret: z.string().min(1) });

/**
 * Asks a docker credential helper (docker/docker-credential-helpers, "Development"): `docker-credential-NAME get`, the
 * server on stdin, JSON on stdout. Without a shell, and with PATH and HOME alone: it inherits none of our secrets.
 *
 * @param o.signal ends the program and what it started
 * @returns undefined where it knows no credential for this server
 * @throws RegistryError UNAVAILABLE
 */
export async function askHelper(
  name: string,
  server: string,
  o: CallOptions,
): Promise<Credential | undefined> {
  const program = `docker-credential-${name}`;
  const broken = (what: string, cause?: unknown) =>
    new RegistryError('UNAVAILABLE', { reason: `${program} ${what}`, cause });
  let result: HelperResult;
  try {
    result = await run(program, server, o);
  } catch (error) {
    throw broken('cannot be run', error);
  }
  if (result.code !== 0) {
    if (/credentials not found/i.test(result.output)) return undefined;
    throw broken(`failed with ${result.code === null ? 'a signal' : `exit code ${result.code}`}`);
  }
  const parsed = reply.safeParse(parseJson(result.output));
  if (!parsed.success) throw broken('gave an answer that is not its protocol');
  const { Username: username, Secret: secret } = parsed.data;
  if (username === '<token>') return { kind: 'identity-token', token: new Secret(secret) };
  return { kind: 'basic', username, password: new Secret(secret) };
}

interface HelperResult {
  readonly code: number | null;
  /** Of stdout: helpers tell there, too, that they know nothing. May hold a secret. */
  readonly output: string;
}

function run(program: string, input: string, { signal }: CallOptions): Promise<HelperResult> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    // A process group of its own: a helper is often a script, and what it started must end with it.
    const child = spawn(program, ['get'], {
      env: cleanEnvironment(),
      detached: true,
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const chunks: Buffer[] = [];
    let size = 0;
    const end = (error: unknown) => {
      kill(child);
      child.stdout.destroy();
      reject(error);
    };
    const onAbort = () => end(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const letGo = () => signal.removeEventListener('abort', onAbort);
    child.once('error', (error) => {
      letGo();
      reject(error);
    });
    child.once('close', (code) => {
      letGo();
      resolve({ code, output: Buffer.concat(chunks).toString('utf8') });
    });
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxOutput) end(new Error(`it wrote more than ${maxOutput} bytes`));
      else chunks.push(chunk);
    });
    child.stdin.on('error', () => {}); // it need not read its input
    child.stdin.end(`${input}\n`);
  });
}

function kill(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL'); // the group is gone already
  }
}

function cleanEnvironment(): NodeJS.ProcessEnv {
  const { PATH, HOME } = process.env;
  return { ...(PATH !== undefined && { PATH }), ...(HOME !== undefined && { HOME }) };
}

/** A parse error of JSON quotes the text, which may hold a secret. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
