import { randomBytes } from 'node:crypto';
import {
  type MemoryRegistry,
  type MemoryRegistryOptions,
  startMemoryRegistry,
} from '../../../src/testing/index.js';
import { type PlainFront, startPlainFront } from './plain-front.js';
import type { RunningProxy } from './proxy.js';
import type { Workspace } from './workspace.js';

/** The proxy, a program of its own, in front of a registry that can be told what is to go wrong. */
export interface FaultyFront extends PlainFront {
  readonly registry: MemoryRegistry;
}

export interface FaultyFrontOptions {
  /** What the registry asks for; with `token` the proxy alone has the credentials. Open where it is missing. */
  readonly auth?: 'token';
  /** More of the proxy's configuration. */
  readonly settings?: object;
}

export async function startFaultyFront(
  workspace: Workspace,
  { auth, settings }: FaultyFrontOptions = {},
): Promise<FaultyFront> {
  const password = randomBytes(9).toString('hex');
  const options: MemoryRegistryOptions =
    auth === undefined ? {} : { auth: { kind: auth, username: 'robot', password } };
  const registry = await startMemoryRegistry(options);
  workspace.onClose(() => registry.close());
  workspace.file('proxy/upstream-password', password);
  const credentials = { type: 'static', username: 'robot', password: { file: 'upstream-password' } };
  const upstream = { url: registry.url, ...(auth !== undefined && { credentials }) };
  const front = await startPlainFront(workspace, upstream, settings);
  return { ...front, registry };
}

/** The proxy's log lines of an event, such as `access` or `token`. */
export function logLines(proxy: RunningProxy, event: string): readonly Record<string, unknown>[] {
  return proxy
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line.event === event);
}
