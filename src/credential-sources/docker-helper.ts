import { z } from 'zod';
import type { Credential } from '../contracts/index.js';
import { endedBadly, type ProgramResult } from '../outgoing/run-program.js';
import { Secret } from '../secret.js';

/** docker/docker-credential-helpers: the argument that asks for a credential. The server stands on standard input. */
export const getArguments: readonly string[] = ['get'];

const answer = z.looseObject({ Username: z.string(), Secret: z.string() });

/**
 * What a docker credential helper said to `get` (docker/docker-credential-helpers, `client`).
 *
 * @returns undefined where it knows no credential for this server
 * @throws an Error that quotes nothing of what it wrote: helpers write secrets, and errors of servers, to both streams
 */
export function credentialFromHelper({ code, stdout }: ProgramResult): Credential | undefined {
  const text = stdout.toString('utf8');
  if (code !== 0) {
    if (/credentials not found/i.test(text)) return undefined;
    throw new Error(endedBadly(code));
  }
  const parsed = answer.safeParse(parseJson(text));
  const { Username: username = '', Secret: secret = '' } = parsed.data ?? {};
  // docker-credential-pass says so where it knows none, with exit code 0.
  if (parsed.success && username === '' && secret === '') return undefined;
  if (secret === '') throw new Error('it gave an answer that is not its protocol');
  if (username === '<token>') return { kind: 'identity-token', token: new Secret(secret) };
  return { kind: 'basic', username, password: new Secret(secret) };
}

/** @returns undefined where it is no JSON: a parse error quotes the text, which may hold a secret */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
