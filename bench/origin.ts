import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Workspace } from '../test/e2e/harness/workspace.js';

/** The registry that all peers stand before. */
export interface Origin {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** PEM file of whoever signed its certificate, where it has one. */
  readonly authority: string | undefined;
  readonly manifest: string;
  readonly layer: string;
  /** Bytes of the layer. */
  readonly size: number;
}

export interface OriginOptions {
  readonly tls?: { readonly key: string; readonly certificate: string; readonly authority: string };
  /** Bytes of the layer. */
  readonly layer?: number;
}

export async function startOrigin(workspace: Workspace, { tls, layer }: OriginOptions = {}): Promise<Origin> {
  const script = fileURLToPath(new URL('origin.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify({ ...tls, layer })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  workspace.onClose(() => void child.kill());
  const [line] = await once(child.stdout, 'data');
  const { port, ...contents } = JSON.parse(String(line)) as {
    port: number;
    manifest: string;
    layer: string;
    size: number;
  };
  const url = tls === undefined ? `http://127.0.0.1:${port}` : `https://localhost:${port}`;
  return { url, port, pid: child.pid ?? 0, authority: tls?.authority, ...contents };
}
