import { createHash } from 'node:crypto';
import type { FileContent, NodeFileStat, NodeFiles } from '../contracts/node.js';
import type { NodeTree } from './node-trees.js';

interface MemoryFile {
  readonly text: string;
  readonly mode: number;
}

/** The files of a node in memory. A copied file's bytes are its source's path. */
export class TreeFiles implements NodeFiles {
  readonly files = new Map<string, MemoryFile>();
  readonly #links = new Set<string>();
  readonly #directories: Readonly<Record<string, Partial<NodeFileStat>>>;

  /** @param directories what is there though no file is in it, or is not root's with 0755 */
  constructor(tree: NodeTree, directories: Readonly<Record<string, Partial<NodeFileStat>>> = {}) {
    this.#directories = directories;
    for (const [path, content] of Object.entries(tree)) {
      if (typeof content === 'string') this.files.set(path, { text: content, mode: 0o644 });
      else this.#links.add(path);
    }
  }

  async read(path: string): Promise<string | undefined> {
    return this.files.get(path)?.text;
  }

  async list(directory: string): Promise<readonly string[]> {
    const prefix = `${directory}/`;
    const inside = [...this.files.keys(), ...this.#links].filter((path) => path.startsWith(prefix));
    return [...new Set(inside.map((path) => path.slice(prefix.length).split('/')[0] ?? ''))].sort();
  }

  async stat(path: string): Promise<NodeFileStat | undefined> {
    const file = this.files.get(path);
    const own = { size: 0, owner: 0, realPath: path };
    if (file) return { ...own, kind: 'file', size: Buffer.byteLength(file.text), mode: file.mode };
    if (this.#links.has(path)) return { ...own, kind: 'other', mode: 0o666 };
    const more = this.#directories[path];
    const isThere = path === '/' || more !== undefined || (await this.list(path)).length > 0;
    return isThere ? { ...own, kind: 'directory', mode: 0o755, ...more } : undefined;
  }

  async hash(path: string): Promise<string | undefined> {
    const text = this.files.get(path)?.text;
    return text === undefined ? undefined : createHash('sha256').update(text).digest('hex');
  }

  async write(path: string, content: FileContent, mode: number): Promise<void> {
    this.files.set(path, { text: typeof content === 'string' ? content : content.copyOf, mode });
  }

  async remove(path: string): Promise<void> {
    this.files.delete(path);
  }

  /** All texts, by path. */
  texts(): Readonly<Record<string, string>> {
    return Object.fromEntries([...this.files].map(([path, { text }]) => [path, text]).sort());
  }
}
