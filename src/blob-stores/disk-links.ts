import { statSync } from 'node:fs';
import { appendFile, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Link, LinkKey, Log, UpstreamRepository } from '../contracts/index.js';
import { describeError, hasCode } from '../errors.js';
import { isDigest } from '../reference/digest.js';
import { type DiskLayout, tagPrefix } from './disk-layout.js';

/** Bytes of a mark; then it begins anew, as another file. */
const longestMark = 1024 * 1024;

/** The links of a cache's directory, each a small file of JSON that is replaced as a whole. */
export class DiskLinks {
  readonly #layout: DiskLayout;
  readonly #log: Log;
  /** Those that were looked at in this turn of the event loop. */
  readonly #seen = new Map<string, string>();

  constructor(layout: DiskLayout, log: Log) {
    this.#layout = layout;
    this.#log = log;
  }

  /**
   * By a call that does not leave this thread: a mark is looked at with each request, and stands in the kernel's memory.
   */
  mark(repository: UpstreamRepository): string {
    const file = this.#layout.mark(repository);
    const known = this.#seen.get(file);
    if (known !== undefined) return known;
    // Requests that are handled in the same turn had come before it: none of them follows a push that ended since.
    if (this.#seen.size === 0) setImmediate(() => this.#seen.clear());
    const mark = this.#look(file);
    this.#seen.set(file, mark);
    return mark;
  }

  #look(file: string): string {
    const found = statSync(file, { throwIfNoEntry: false });
    return found === undefined ? '' : `${found.ino}.${found.size}`;
  }

  async changed(repository: UpstreamRepository): Promise<void> {
    const file = this.#layout.mark(repository);
    try {
      if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) >= longestMark) {
        const fresh = this.#layout.newIncoming();
        await writeFile(fresh, '.', { mode: 0o600 });
        await rename(fresh, file);
      } else {
        await appendFile(file, '.', { mode: 0o600 });
      }
    } catch (error) {
      const reason = describeError(error);
      this.#log.error({ file, reason }, 'cache: a push cannot be noted, others may see old tags until then');
    }
    this.#seen.delete(file);
  }

  async write(repository: UpstreamRepository, key: LinkKey, link: Link, mark: string): Promise<void> {
    const isChanged = () => this.#look(this.#layout.mark(repository)) !== mark;
    if (isChanged()) return;
    const file = this.#layout.link(repository, key);
    const directory = dirname(file);
    const fresh = this.#layout.newIncoming();
    await writeFile(fresh, JSON.stringify(link), { mode: 0o600 });
    try {
      await rename(fresh, file).catch(async (error: unknown) => {
        if (!hasCode(error, 'ENOENT')) throw error;
        await mkdir(directory, { recursive: true, mode: 0o700 });
        await writeFile(join(directory, 'repository'), JSON.stringify(repository), { mode: 0o600 });
        await rename(fresh, file);
      });
    } catch (error) {
      await rm(fresh, { force: true });
      throw error;
    }
    // Somebody has pushed just now: they may have removed this before it was there.
    if (isChanged()) await rm(file, { force: true });
  }

  /** @returns undefined also where a crash has left half of it */
  async read(repository: UpstreamRepository, key: LinkKey): Promise<Link | undefined> {
    try {
      return parseLink(await readFile(this.#layout.link(repository, key), 'utf8'));
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  async remove(
    repository: UpstreamRepository,
    key: Extract<LinkKey, { kind: 'content' }> | { readonly kind: 'tag'; readonly tag: string },
  ): Promise<void> {
    if (key.kind === 'content') return rm(this.#layout.link(repository, key), { force: true });
    const directory = this.#layout.repository(repository);
    const prefix = tagPrefix(key.tag);
    const names = await namesIn(directory);
    const variants = names.filter((name) => name.startsWith(prefix));
    await Promise.all(variants.map((name) => rm(join(directory, name), { force: true })));
  }

  /** Every link, with its file. */
  async *all(): AsyncGenerator<{ readonly file: string; readonly link: Link | undefined }> {
    for (const shard of await namesIn(this.#layout.links)) {
      for (const hash of await namesIn(join(this.#layout.links, shard))) {
        const directory = join(this.#layout.links, shard, hash);
        for (const name of await namesIn(directory)) {
          if (basename(name) === 'repository') continue;
          const file = join(directory, name);
          const text = await readFile(file, 'utf8').catch(() => '');
          yield { file, link: parseLink(text) };
        }
      }
    }
  }
}

function parseLink(text: string): Link | undefined {
  try {
    const { digest, mediaType, checkedAt } = JSON.parse(text) as Partial<Record<keyof Link, unknown>>;
    if (typeof digest !== 'string' || !isDigest(digest) || typeof checkedAt !== 'number') return undefined;
    return { digest, checkedAt, ...(typeof mediaType === 'string' && { mediaType }) };
  } catch {
    return undefined;
  }
}

export async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return [];
    throw error;
  }
}
