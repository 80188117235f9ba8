import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { describeError } from '../../errors.js';
import type { ProviderSource } from '../../node-installer/merged-providers.js';

/** Bytes of a file, and files of a directory. */
const maxSize = 1024 * 1024;
const mostFiles = 64;

/**
 * What a node has of its own, as kubelet reads `--image-credential-provider-config`: a file, or all of a directory.
 *
 * @throws an Error of one line where something cannot be read
 */
export async function readProviderSources(path: string): Promise<readonly ProviderSource[]> {
  try {
    const found = await stat(path);
    if (!found.isDirectory()) return [await readSource(path)];
    const names = (await readdir(path)).filter((name) => /\.(?:json|ya?ml)$/.test(name)).sort();
    if (names.length > mostFiles) throw new Error(`more than ${mostFiles} files`);
    const sources: ProviderSource[] = [];
    for (const name of names) sources.push(await readSource(join(path, name)));
    return sources;
  } catch (error) {
    throw new Error(`${path} cannot be read: ${describeError(error)}`);
  }
}

async function readSource(path: string): Promise<ProviderSource> {
  // To open a pipe would wait for whoever writes there.
  const found = await stat(path);
  if (!found.isFile()) throw new Error('expected a file');
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(maxSize + 1);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    if (bytesRead > maxSize) throw new Error(`larger than ${maxSize} bytes`);
    return { path, text: buffer.toString('utf8', 0, bytesRead) };
  } finally {
    await file.close();
  }
}

/** Our own providers, each with what the installer's command line allowed. */
export function withAllowed(text: string, allow: readonly string[]): string {
  if (allow.length === 0) return text;
  const config = parse(text) as { readonly providers: readonly { readonly args: readonly string[] }[] };
  const more = allow.flatMap((kind) => ['--allow', kind]);
  const providers = config.providers.map((one) => ({ ...one, args: [...one.args, ...more] }));
  return stringify({ ...config, providers }, { lineWidth: 0 });
}
