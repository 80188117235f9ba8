import { stat } from 'node:fs/promises';

/**
 * What tells one state of some files from the next, without reading them. It follows symbolic links, so that the swap of
 * a Kubernetes volume's link is seen; what is not there has a mark, too.
 */
export async function fileMarks(paths: readonly string[]): Promise<string> {
  const marks = await Promise.all([...new Set(paths)].map(markOf));
  return marks.join('\n');
}

async function markOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return `${path} ${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
  } catch (error) {
    return `${path} ${error instanceof Error ? (error as NodeJS.ErrnoException).code : ''}`;
  }
}
